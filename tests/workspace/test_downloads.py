"""Downloads: headers, parts of files, signed addresses, and streams over a real server."""

from __future__ import annotations

import hashlib
import tracemalloc
from itertools import islice
from urllib.parse import unquote

import httpx2
import pytest
from django.core.files.storage import FileSystemStorage

from apps.workspace.downloads import content_disposition
from apps.workspace.models import File
from tests.workspace.conftest import FILES, upload

FORM = {"Content-Type": "multipart/form-data; boundary=e"}
CONTENT = bytes(range(256)) * 4
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 20
WEBP = b"RIFF\0\0\0\0WEBPVP8 "


def fetch(person, file_id, **headers):
    answer = person.client.get(f"{FILES}/{file_id}/download", headers=headers)
    answer.whole = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer


def body(answer):
    return answer.whole


@pytest.mark.parametrize(
    ("name", "content", "inline", "kind"),
    [
        ("a.png", PNG, True, "image/png"),
        ("a.jpg", JPEG, True, "image/jpeg"),
        ("a.gif", b"GIF89a", True, "image/gif"),
        ("a.webp", WEBP, True, "image/webp"),
        ("a.mp4", b"\0", True, "video/mp4"),
        ("a.pdf", b"%PDF", True, "application/pdf"),
        ("a.txt", b"hi", True, "text/plain; charset=utf-8"),
        ("a.html", b"<script>", False, "text/html; charset=utf-8"),
        ("a.svg", b"<svg/>", False, "image/svg+xml"),
        ("a.js", b"1", False, None),
        ("a.xml", b"<a/>", False, None),
        ("a.zip", b"PK", False, "application/zip"),
    ],
)
def test_only_harmless_kinds_are_shown_in_place(owner, name, content, inline, kind):
    answer = fetch(owner, upload(owner, content, name).json()["id"])
    assert body(answer) == content
    start = "inline; " if inline else "attachment; "
    assert answer["Content-Disposition"] == f'{start}filename="{name}"'
    assert kind in {None, answer["Content-Type"]}
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "sandbox"
    assert answer["Content-Length"] == str(len(content))
    assert answer["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("accept", ["image/png", "text/html", "application/json", "*/*"])
def test_whatever_is_accepted_the_file_comes(owner, accept):
    file_id = upload(owner, PNG, "a.png").json()["id"]
    assert fetch(owner, file_id, accept=accept).status_code == 200


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ('a"b\\c.txt', 'attachment; filename="a\\"b\\\\c.txt"'),
        ("a\r\nSet-Cookie: x\0.txt", 'attachment; filename="aSet-Cookie: x.txt"'),
        ("Grüße 文.txt", "attachment; filename=\"Gr__e _.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%E6%96%87.txt"),
        ("a\x1b\x7f.txt", "attachment; filename=\"a__.txt\"; filename*=UTF-8''a%1B%7F.txt"),
    ],
)
def test_a_name_can_not_break_its_header(name, header):
    made = content_disposition(name, inline=False)
    assert made == header
    if "filename*" in made:
        assert unquote(made.rpartition("''")[2]) == name
    assert made.isascii()


def test_a_stored_name_with_line_breaks_is_harmless(owner):
    file_id = upload(owner).json()["id"]
    File.objects.filter(pk=file_id).update(name='x"\r\nSet-Cookie: a=b.html', mime_type="text/html")
    answer = fetch(owner, file_id)
    assert answer["Content-Disposition"] == 'attachment; filename="x\\"Set-Cookie: a=b.html"'
    assert not answer.cookies


# Parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=0-", slice(0, 1024)),
        ("bytes=100-199", slice(100, 200)),
        ("bytes=1000-5000", slice(1000, 1024)),
        ("bytes=-24", slice(1000, 1024)),
        ("bytes=-5000", slice(0, 1024)),
        ("bytes=1023-", slice(1023, 1024)),
    ],
)
def test_a_part_may_be_asked_for(owner, asked, part):
    answer = fetch(owner, upload(owner, CONTENT, "a.mp4").json()["id"], range=asked)
    assert answer.status_code == 206
    assert body(answer) == CONTENT[part]
    assert answer["Content-Range"] == f"bytes {part.start}-{part.stop - 1}/1024"
    assert answer["Content-Length"] == str(part.stop - part.start)
    assert answer["Content-Security-Policy"] == "sandbox"


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_a_part_that_is_not_there_is_416(owner, asked):
    answer = fetch(owner, upload(owner, CONTENT, "a.mp4").json()["id"], range=asked)
    assert (answer.status_code, answer["Content-Range"]) == (416, "bytes */1024")


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=5-2", "lines=1-2", "bytes=-", "bytes=a-b", "x"])
def test_what_is_no_single_range_means_the_whole(owner, asked):
    answer = fetch(owner, upload(owner, CONTENT, "a.mp4").json()["id"], range=asked)
    assert (answer.status_code, body(answer)) == (200, CONTENT)


def test_a_part_of_another_version_is_not_sent(owner):
    file_id = upload(owner, CONTENT, "a.mp4").json()["id"]
    etag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert fetch(owner, file_id, range="bytes=0-9", **{"if-range": etag}).status_code == 206
    assert fetch(owner, file_id, range="bytes=0-9", **{"if-range": '"other"'}).status_code == 200
    assert fetch(owner, file_id, **{"if-none-match": etag}).status_code == 304


def test_a_part_of_an_empty_file_is_416(owner):
    file_id = upload(owner, b"", "a.txt").json()["id"]
    assert body(fetch(owner, file_id)) == b""
    assert fetch(owner, file_id, range="bytes=0-").status_code == 416


# Other storages -------------------------------------------------------------------------------------------------


class Signing(FileSystemStorage):
    """Stands for a bucket: it signs addresses like S3's backend."""

    querystring_expire = 300
    url_error = None

    def url(self, name, parameters=None):
        if self.url_error:
            raise self.url_error
        return f"https://bucket.example/{name}?{parameters['ResponseContentDisposition']}"


@pytest.fixture
def bucket(settings, folder, monkeypatch):
    # A bucket's backend is no FileSystemStorage, which is how ours knows that there are no addresses to sign.
    monkeypatch.setattr("apps.workspace.blobs.FileSystemStorage", type("NoSuchStorage", (), {}))
    settings.STORAGES = {
        **settings.STORAGES,
        "workspace": {"BACKEND": f"{__name__}.Signing", "OPTIONS": {"location": folder}},
    }
    monkeypatch.setattr(Signing, "url_error", None)
    return Signing


def test_a_bucket_serves_its_files_itself(owner, bucket):
    file = upload(owner, b"<b>", "a.html").json()
    answer = fetch(owner, file["id"])
    assert answer.status_code == 302
    name = File.objects.get().storage_name
    assert answer["Location"] == f'https://bucket.example/{name}?attachment; filename="a.html"'.replace(
        " ", "%20"
    ).replace('"', "%22")
    assert answer["Cache-Control"] == "no-store"


def test_what_can_not_be_signed_is_streamed(owner, bucket, monkeypatch):
    file_id = upload(owner).json()["id"]
    monkeypatch.setattr(bucket, "url_error", RuntimeError("no credentials"))
    answer = fetch(owner, file_id)
    assert (answer.status_code, body(answer)) == (200, b"hello")


def test_a_blob_that_is_gone_is_503(owner, folder):
    file_id = upload(owner).json()["id"]
    (folder / File.objects.get().storage_name).unlink()
    answer = fetch(owner, file_id)
    assert (answer.status_code, answer.json()["code"]) == (503, "blob_gone")


# The real server ------------------------------------------------------------------------------------------------


@pytest.fixture
def person(transactional_db, owner, web_server):
    with httpx2.Client(base_url=web_server.url, headers=owner.headers, timeout=30) as client:
        yield client


def test_a_large_file_is_never_whole_in_memory(person, folder):
    size = 60 * 1024 * 1024

    def form():
        yield b'--e\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
        for _ in range(size // 65536):
            yield b"x" * 65536
        yield b"\r\n--e--\r\n"

    length = str(len(b"".join(islice(form(), 1))) + size + 9)
    tracemalloc.start()
    try:
        answer = person.post(FILES, content=form(), headers={"Content-Length": length, **FORM})
        assert answer.status_code == 201, answer.text
        assert answer.json()["size_bytes"] == size
        got = 0
        with person.stream("GET", f"{FILES}/{answer.json()['id']}/download") as download:
            for piece in download.iter_bytes():
                got += len(piece)
        assert got == size
        assert tracemalloc.get_traced_memory()[1] < 20 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_part_over_the_real_server(person):
    file_id = person.post(FILES, files={"file": ("a.mp4", CONTENT)}).json()["id"]
    answer = person.get(f"{FILES}/{file_id}/download", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (206, CONTENT[10:20], "10")
    head = person.head(f"{FILES}/{file_id}/download")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "1024")


def test_who_leaves_in_the_middle_leaves_nothing_open(person):
    file_id = person.post(FILES, files={"file": ("a.bin", b"x" * 5_000_000)}).json()["id"]
    for _ in range(5):
        with person.stream("GET", f"{FILES}/{file_id}/download") as download:
            next(download.iter_raw(1000))
    assert person.get(f"{FILES}/{file_id}").status_code == 200


def test_too_much_is_refused_while_it_arrives(person, settings, folder):
    settings.WORKSPACE_FILE_LIMIT_BYTES = 100_000
    refused = person.post(FILES, files={"file": ("a.bin", b"x" * 200_000)})  # by its Content-Length
    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")

    sent = 0

    def endless():
        nonlocal sent
        yield b'--e\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while sent < 500_000_000:
            sent += 65536
            yield b"x" * 65536

    try:
        refused = person.post(FILES, content=endless(), headers=FORM)
        assert refused.status_code == 413
        assert refused.json()["limit_bytes"] == 100_000
    except httpx2.NetworkError:
        pass  # the server hung up before all was sent
    assert sent < 100_000_000
    assert not File.objects.exists()
    assert person.get("/healthz").status_code == 200
