"""The copilot's tools for files."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from apps.chat.models import Session
from apps.chat.tools.base import ToolContext
from apps.chat.tools.registry import default_registry, render_result
from apps.runtime.db import db
from apps.workspace import queries, services
from apps.workspace.models import File
from apps.workspace.services import Wish
from tests.conftest import make_person
from tests.workspace.conftest import folder  # noqa: F401 -- a storage of its own, for every test

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


async def quiet(text: str) -> None:
    """Tell nobody."""


def prepare() -> SimpleNamespace:
    owner, teammate = make_person("owner@example.com"), make_person("teammate@example.com")
    session, other = (Session.objects.create(user=owner.user) for _ in range(2))
    return SimpleNamespace(owner=owner.user, teammate=teammate.user, session=session, other=other)


@pytest.fixture
async def world(transactional_db):
    return await db(prepare)


async def call(world: Any, name: str, *, user: Any = None, dry_run: bool = False, **arguments: Any) -> dict[str, Any]:
    context = ToolContext(
        user_id=(user or world.owner).pk,
        session_id=world.session.pk,
        turn_id=uuid4(),
        tool_call_id=uuid4(),
        dry_run=dry_run,
        progress=quiet,
    )
    text, is_error = render_result(await default_registry().call(name, json.dumps(arguments), context))
    answer = json.loads(text)
    assert is_error == (answer["type"] == "error")
    return answer


async def store(user: Any, path: str, content: bytes, **wish: Any) -> File:
    return await db(services.store_file, Wish(user_id=user.pk, path=path, **wish), [content])


async def test_a_file_is_written_listed_read_and_deleted(world):
    written = await call(world, "write_workspace_file", filename="report.md", content="# Grüße\n" + "x" * 300)
    file_id = written["file_id"]
    assert (written["type"], written["path"]) == (
        "workspace_file_written", f"/sessions/{world.session.pk}/report.md",
    )  # fmt: skip
    assert written["download_url"] == f"workspace://{file_id}#text/markdown"
    assert len(written["preview"]) == 200
    row = await db(File.objects.get, pk=file_id)
    assert (row.origin, row.session_id) == ("copilot", world.session.pk)

    listed = await call(world, "list_workspace_files")
    assert (listed["type"], listed["total_count"]) == ("workspace_file_list", 1)
    assert listed["files"] == [
        {"file_id": file_id, "name": "report.md", "path": row.path, "mime_type": "text/markdown", "size_bytes": 310}
    ]
    for which in ({"file_id": file_id}, {"path": "report.md"}, {"path": row.path}):
        read = await call(world, "read_workspace_file", **which)
        assert (read["type"], read["content"]) == ("workspace_file_content", "# Grüße\n" + "x" * 300)
        assert "next_offset" not in read

    deleted = await call(world, "delete_workspace_file", path="report.md")
    assert (deleted["type"], deleted["file_id"], deleted["success"]) == ("workspace_file_deleted", file_id, True)
    assert (await call(world, "read_workspace_file", file_id=file_id))["error"] == "file_not_found"
    assert (await call(world, "list_workspace_files"))["total_count"] == 0


async def test_bytes_come_in_base64(world):
    written = await call(
        world, "write_workspace_file", filename="a.png", content="", content_base64=base64.b64encode(PNG).decode()
    )
    assert (written["mime_type"], written["preview"]) == ("image/png", "")
    read = await call(world, "read_workspace_file", file_id=written["file_id"])
    assert (read["type"], read["uri"]) == ("workspace_file_metadata", f"workspace://{written['file_id']}#image/png")
    assert "an image" in read["message"]
    broken = await call(world, "write_workspace_file", filename="b", content_base64="%%%")
    assert broken["error"] == "invalid_base64"


@pytest.mark.parametrize(
    "arguments",
    [
        {"filename": "a"},
        {"filename": "a", "content": "x", "content_base64": "eA=="},
        {"filename": "", "content": "x"},
        {"content": "x"},
        {"filename": "a", "content": "x", "mode": 1},
    ],
)
async def test_a_write_needs_a_name_and_one_content(world, arguments):
    assert (await call(world, "write_workspace_file", **arguments))["error"] == "input_validation_error"


async def test_a_path_is_taken_unless_it_is_overwritten(world):
    first = await call(world, "write_workspace_file", filename="a.txt", content="one")
    refused = await call(world, "write_workspace_file", filename="a.txt", content="two")
    assert (refused["error"], refused["details"]["path"]) == ("path_taken", first["path"])
    second = await call(world, "write_workspace_file", filename="a.txt", content="two", overwrite=True)
    assert second["file_id"] != first["file_id"]
    assert (await call(world, "read_workspace_file", path="a.txt"))["content"] == "two"
    assert (await call(world, "write_workspace_file", filename="e.txt", content=""))["size_bytes"] == 0


async def test_a_session_sees_its_own_files_unless_all_are_asked_for(world):
    await store(world.owner, "/top.txt", b"1")
    await store(world.owner, f"/sessions/{world.other.pk}/else.txt", b"2")
    await store(world.owner, "mine.txt", b"3", session_id=world.session.pk)
    await store(world.teammate, "/theirs.txt", b"4")

    async def names(**arguments):
        return {file["name"] for file in (await call(world, "list_workspace_files", **arguments))["files"]}

    assert await names() == {"mine.txt"}
    assert await names(path_prefix="mi") == {"mine.txt"}
    assert await names(path_prefix="x") == set()
    assert await names(include_all_sessions=True) == {"top.txt", "else.txt", "mine.txt"}
    assert await names(path_prefix=f"/sessions/{world.other.pk}/") == {"else.txt"}
    assert await names(include_all_sessions=True, limit=1, offset=2) == {"top.txt"}
    assert (await call(world, "list_workspace_files", limit=101))["error"] == "input_validation_error"


async def test_nobody_reaches_other_peoples_files(world):
    theirs = await store(world.teammate, "/theirs.txt", b"secret")
    for name in ("read_workspace_file", "delete_workspace_file"):
        foreign = await call(world, name, file_id=str(theirs.pk))
        unknown = await call(world, name, file_id=str(uuid4()))
        assert foreign == unknown
        assert foreign["error"] == "file_not_found"
    assert (await call(world, "write_workspace_file", filename="x", content="x", path="../../x"))["error"] == "bad_path"
    foreign_session = await db(Session.objects.create, user=world.teammate)
    answer = await call(
        world, "write_workspace_file", filename="x", content="x", path=f"/sessions/{foreign_session.pk}/x"
    )
    assert answer["error"] == "file_not_found"
    assert (await call(world, "read_workspace_file"))["error"] == "input_validation_error"
    assert (await db(queries.file_of, world.teammate.pk, theirs.pk)).deleted_at is None


async def test_a_long_text_is_read_in_parts_without_breaking_characters(world):
    text = "äöü€😀\n" * 9000
    file = await store(world.owner, "/long.txt", text.encode())
    got, offset, rounds = "", 0, 0
    while offset is not None:
        part = await call(world, "read_workspace_file", file_id=str(file.pk), offset=offset)
        assert len(part["content"].encode()) <= 32 * 1024
        got, offset, rounds = got + part["content"], part.get("next_offset"), rounds + 1
    assert (got, rounds) == (text, 4)
    beyond = await call(world, "read_workspace_file", file_id=str(file.pk), offset=10**9)
    assert (beyond["content"], beyond.get("next_offset")) == ("", None)


async def test_what_is_no_text_is_told_not_read(world):
    archive = await store(world.owner, "/a.zip", b"PK\x03\x04")
    strange = await store(world.owner, "/noname", b"a\0b")
    plain = await store(world.owner, "/Makefile", b"all:\n")
    for file in (archive, strange):
        assert (await call(world, "read_workspace_file", file_id=str(file.pk)))["type"] == "workspace_file_metadata"
    assert (await call(world, "read_workspace_file", file_id=str(plain.pk)))["content"] == "all:\n"


async def test_limits_are_told(world, settings):
    settings.WORKSPACE_QUOTA_BYTES = 5
    answer = await call(world, "write_workspace_file", filename="a", content="123456")
    assert (answer["error"], answer["details"]["limit_bytes"]) == ("quota_exceeded", 5)
    settings.WORKSPACE_FILE_LIMIT_BYTES = 3
    answer = await call(world, "write_workspace_file", filename="a", content="1234")
    assert (answer["error"], answer["details"]) == ("file_too_large", {"limit_bytes": 3})


async def test_a_dry_run_changes_nothing(world):
    kept = await store(world.owner, "/a.txt", b"x")
    written = await call(world, "write_workspace_file", filename="b.txt", content="x", dry_run=True)
    deleted = await call(world, "delete_workspace_file", file_id=str(kept.pk), dry_run=True)
    assert "Dry run" in written["message"]
    assert deleted["success"] is False
    assert await db(lambda: list(File.objects.live().values_list("name", flat=True))) == ["a.txt"]
