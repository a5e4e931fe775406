"""Files: where they may come from, and what is read of texts, tables and XML."""

from __future__ import annotations

import base64
import datetime
import io
import zipfile
from collections.abc import AsyncIterator

import openpyxl
import pytest
import pytest_asyncio
from pydantic import ValidationError

from apps.library.blocks import files_access
from apps.library.blocks.basic import FileStore
from apps.library.blocks.files import FileRead, ReadSpreadsheet
from apps.library.errors import BlockError
from tests.chat.tools.local_http import LocalServer, http, local_server, redirect
from tests.library.blocks.running import block, context, last, run


@pytest_asyncio.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server() as running:
        yield running


def data_uri(content: bytes, mime_type: str = "application/octet-stream") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def excel(*rows: list, title: str = "First") -> bytes:
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    book.create_sheet("Second").append(["never", "read"])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


# Where files come from


async def test_a_data_uri_is_a_file():
    file = await files_access.read_file(" data:text/plain;charset=utf-8,a%20b%C3%BC ", context=context())
    assert (file.content, file.mime_type, file.name) == ("a bü".encode(), "text/plain", "file.txt")
    file = await files_access.read_file("DATA:image/PNG;base64,iVBO\nRw%3D%3D", context=context())
    assert (file.content, file.mime_type, file.name) == (b"\x89PNG"[:4], "image/png", "file.png")
    assert (await files_access.read_file("data:,x", context=context())).mime_type == "text/plain"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("data:text/plain;base64", "whole data URI"),
        ("data:text/plain;base64,####", "valid base64"),
        ("data:text/plain;base64,YQ", "valid base64"),
        ("data:te xt/plain,a", "media type"),
        ("data:text/plain," + "a" * 101, "larger than"),
        ("data:;base64," + "A" * 400, "larger than"),
        ("workspace://not-an-id", "isn't the name"),
        ("/etc/passwd", "can't be fetched"),
        ("file:///etc/passwd", "can't be fetched"),
        ("ftp://example.com/a", "can't be fetched"),
        ("http://127.0.0.1/a", "public internet"),
        ("http://169.254.169.254/latest/meta-data/", "public internet"),
        ("http://localhost:8000/", "own services"),
        ("", "can't be fetched"),
    ],
)
async def test_references_that_lead_nowhere(reference, words):
    with pytest.raises(BlockError, match=words):
        await files_access.read_file(reference, context=context(), max_bytes=100)


async def test_a_url_is_fetched_behind_the_address_guard(server):
    server.answers["/folder/my%20table.csv"] = http(b"a,b", content_type="text/csv; charset=utf-8")
    server.answers["/there"] = redirect("/folder/my%20table.csv")
    url = server.url("/there")
    with pytest.raises(BlockError, match="public internet"):
        await files_access.read_file(url, context=context())
    assert server.requests == []
    file = await files_access.read_file(url, context=context(), allow=[server.place])
    assert (file.name, file.mime_type, file.content) == ("my table.csv", "text/csv", b"a,b")


async def test_what_a_server_answers_may_be_no_file(server):
    server.answers["/gone"] = http(b"sorry", status="410 Gone")
    server.answers["/large"] = http(b"x" * 101)
    server.answers["/metadata"] = redirect("http://169.254.169.254/")
    for path, words in (("/gone", "answered 410"), ("/large", "larger than"), ("/metadata", "public internet")):
        with pytest.raises(BlockError, match=words):
            await files_access.read_file(server.url(path), context=context(), max_bytes=100, allow=[server.place])


# Texts


LINES = "one\ntwo\nthree\nfour"


@pytest.mark.parametrize(
    ("pins", "pieces"),
    [
        ({}, [LINES]),
        ({"row_limit": "3"}, ["one\ntwo\nthree", "four"]),
        ({"size_limit": 10}, ["one\ntwo\nth", "ree\nfour"]),
        ({"row_limit": 2, "size_limit": 5}, ["one\nt", "wo", "three", "\nfour"]),
        ({"skip_rows": 2}, ["three\nfour"]),
        ({"skip_size": 4, "skip_rows": 1}, ["three\nfour"]),
        ({"delimiter": "t"}, ["one\n", "wo\n", "hree\nfour"]),
        ({"delimiter": "t", "row_limit": 2}, ["one\ntwo\n", "hree\nfour"]),
        ({"skip_size": 99}, [""]),
        ({"skip_rows": 99}, []),
        ({"size_limit": None, "row_limit": ""}, [LINES]),
    ],
)
async def test_a_text_is_read_whole_or_in_pieces(pins, pieces):
    found = await run("FileRead", {"file_input": data_uri(LINES.encode()), **pins})
    assert found == [("content", piece) for piece in pieces]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
async def test_texts_in_other_encodings(encoding):
    assert await run("FileRead", {"file_input": data_uri("süß".encode(encoding))}) == [("content", "süß")]


async def test_what_isnt_a_text_is_refused(server):
    with pytest.raises(BlockError, match="isn't text"):
        await run("FileRead", {"file_input": data_uri(b"\x7fELF\0\0")})
    with pytest.raises(BlockError, match="more than 10000 pieces"):
        await run("FileRead", {"file_input": data_uri(b"x" * 10_001), "size_limit": 1})
    with pytest.raises(ValidationError):
        block("FileRead").Input.model_validate({"file_input": "x", "row_limit": -1})
    server.answers["/text"] = http(b"from afar", content_type="text/plain")
    reader = FileRead(allow=[server.place])
    assert await run(reader, {"file_input": server.url("/text")}) == [("content", "from afar")]
    with pytest.raises(BlockError, match="public internet"):
        await run("FileRead", {"file_input": server.url("/text")})


# Tables


CSV = 'name, note\nAnn ,"a, ""b"""\n\nBob,c\\,d\n'


@pytest.mark.parametrize(
    ("pins", "rows"),
    [
        ({"contents": CSV}, [{"name": "Ann", "note": 'a, "b"'}, {"name": "Bob", "note": "c,d"}]),
        ({"contents": CSV, "skip_rows": 1}, [{"name": "Bob", "note": "c,d"}]),
        ({"contents": CSV, "skip_columns": ["note"]}, [{"name": "Ann"}, {"name": "Bob"}]),
        ({"contents": "a;b", "delimiter": ";", "has_header": False}, [{"0": "a", "1": "b"}]),
        ({"contents": "x, y\n1, 2", "strip": False}, [{"x": "1", " y": " 2"}]),
        ({"contents": "x\n1,2\n"}, [{"x": "1", "1": "2"}]),
        ({"contents": "x,y\n1\n"}, [{"x": "1"}]),
        ({"contents": 'x\n"a\nb"', "escapechar": ""}, [{"x": "a\nb"}]),
        ({"contents": 'x\n"a"', "quotechar": ""}, [{"x": '"a"'}]),
        ({"contents": ""}, []),
    ],
)
async def test_csv(pins, rows):
    assert await run("ReadSpreadsheet", pins) == [("rows", rows)]


async def test_rows_one_by_one():
    found = await run("ReadSpreadsheet", {"contents": "a\n1\n2", "produce_singular_result": "true"})
    assert found == [("row", {"a": "1"}), ("row", {"a": "2"})]
    too_many = "a\n" + "1\n" * 10_001
    with pytest.raises(BlockError, match="one by one"):
        await run("ReadSpreadsheet", {"contents": too_many, "produce_singular_result": True})
    assert len((await last("ReadSpreadsheet", {"contents": too_many}))["rows"]) == 10_001


async def test_a_csv_file_and_an_excel_file(server):
    table = excel(
        ["name", "count", "when", "share", "yes"],
        ["Ann", 3.0, datetime.datetime.fromisoformat("2026-01-02T03:04"), 0.25, True],
        [],
        [None, "", None, None, False],
    )
    rows = [
        {"name": "Ann", "count": "3", "when": "2026-01-02T03:04:00", "share": "0.25", "yes": "True"},
        {"name": "", "count": "", "when": "", "share": "", "yes": "False"},
    ]
    assert await run("ReadSpreadsheet", {"file_input": data_uri(table)}) == [("rows", rows)]
    server.answers["/table"] = http(table, content_type="application/zip")
    reader = ReadSpreadsheet(allow=[server.place])
    assert await run(reader, {"file_input": server.url("/table"), "contents": "not,this"}) == [("rows", rows)]
    assert await run("ReadSpreadsheet", {"file_input": data_uri(b"\xef\xbb\xbfa\n1")}) == [("rows", [{"a": "1"}])]


@pytest.mark.parametrize(
    ("pins", "words"),
    [
        ({}, "neither a text nor a file"),
        ({"contents": "a\n" + "x" * 1_000_001}, "field larger"),
        ({"contents": "a\n" + "\n".join("1" for _ in range(100_001))}, "more than 100000 rows"),
        ({"file_input": data_uri(b"PK\x03\x04 no archive")}, "Excel file can't be read"),
        ({"file_input": data_uri(b"\0\1\2")}, "isn't text"),
    ],
)
async def test_tables_that_cant_be_read(pins, words):
    with pytest.raises(BlockError, match=words):
        await run("ReadSpreadsheet", pins)


async def test_a_packed_bomb_is_survived():
    """A small file may unpack to gigabytes; time and memory of the child process bound them."""
    packed = io.BytesIO()
    book = zipfile.ZipFile(io.BytesIO(excel(["heading"], ["cell"])))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in book.namelist():
            before, cell, after = book.read(name).partition(b">cell<")
            with archive.open(name, "w") as entry:
                entry.write(before)
                if cell:
                    entry.write(b">")
                    for _ in range(250):
                        entry.write(b"a" * (1 << 20))
                    entry.write(b"<")
                entry.write(after)
    assert len(packed.getvalue()) < 2 * 1024 * 1024
    with pytest.raises(BlockError, match=r"memory|longer than"):
        await run("ReadSpreadsheet", {"file_input": data_uri(packed.getvalue())})


@pytest.mark.parametrize("pins", [{"delimiter": "ab"}, {"quotechar": "ab"}, {"skip_rows": -1}, {"has_header": "x"}])
def test_layouts_that_no_table_has(pins):
    with pytest.raises(ValidationError):
        block("ReadSpreadsheet").Input.model_validate({"contents": "", **pins})


# XML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<a><b>1</b><b x='2'>c</b><d/></a>", {"a": {"b": ["1", {"@x": "2", "#text": "c"}], "d": None}}),
        ('<?xml version="1.0" encoding="utf-16"?><a>ü</a>', {"a": "ü"}),
        ("<!DOCTYPE a><a>&lt;&#65;</a>", {"a": "<A"}),
    ],
)
async def test_xml(text, value):
    assert await run("XMLParser", {"input_xml": f" {text}\n"}) == [("parsed_xml", value)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "well-formed"),
        ("<a><b></a>", "well-formed"),
        ("<a/><b/>", "well-formed"),
        ("no XML", "well-formed"),
        ("<a" * 100, "well-formed"),
        ('<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', "entities"),
        ('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>', "entities"),
        ('<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1/x">%p;]><a/>', "entities"),
        ("<a>" * 5_000 + "</a>" * 5_000, "nested too deeply"),
    ],
)
async def test_bad_and_hostile_xml(text, words):
    with pytest.raises(BlockError, match=words):
        await run("XMLParser", {"input_xml": text})


async def test_xml_is_bounded():
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    with pytest.raises(BlockError, match="entities"):
        await run("XMLParser", {"input_xml": f"<!DOCTYPE a [{lol}]><a>&l9;</a>"})
    with pytest.raises(BlockError, match="larger than 10 MB"):
        await run("XMLParser", {"input_xml": "<a>" + "ü" * (5 * 1024 * 1024) + "</a>"})
    with pytest.raises(ValidationError):
        block("XMLParser").Input.model_validate({})


# Files that are kept


async def test_a_file_as_a_data_uri(server):
    server.answers["/image"] = http(b"\x89PNG", content_type="image/png")
    store = FileStore(allow=[server.place])
    found = await run(store, {"file_in": server.url("/image"), "base_64": True})
    assert found == [("file_out", "data:image/png;base64,iVBORw==")]
    with pytest.raises(BlockError, match="public internet"):
        await run("FileStore", {"file_in": server.url("/image"), "base_64": True})


async def test_a_file_of_the_workspace_stays_where_it_is():
    uri = "workspace://00000000-0000-4000-8000-000000000001#image/png"
    assert await run("FileStore", {"file_in": uri}) == [("file_out", uri)]
