"""Files that blocks read from the workspace and keep there."""

from __future__ import annotations

import uuid

import pytest

from apps.library.blocks import files_access
from apps.library.blocks.files_access import FileContent
from apps.library.errors import BlockError
from apps.runtime.db import db
from apps.workspace.models import File
from tests.conftest import make_person
from tests.library.blocks.running import context, run


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    """Where the files of this test lie."""
    place = tmp_path / "workspace"
    backend = {**settings.STORAGES["workspace"]}
    backend["OPTIONS"] = {**backend["OPTIONS"], "location": place}
    settings.STORAGES = {**settings.STORAGES, "workspace": backend}
    return place


@pytest.fixture
def people(transactional_db):
    """Two people; coroutines reach the database through threads of their own."""
    return make_person("owner@example.com").user, make_person("stranger@example.com").user


@pytest.mark.parametrize(("kind", "pin"), [("FileStore", "file_in"), ("AgentFileInput", "value")])
async def test_a_file_is_kept_for_the_owner_of_the_run(people, kind, pin):
    owner, _ = people
    execution_id = uuid.uuid4()
    pins = {pin: "data:text/csv,a%2Cb", "name": "in"}
    ((_, uri),) = await run(kind, pins, user_id=owner.pk, execution_id=execution_id)
    file = await db(File.objects.get)
    assert (file.uri, file.user_id, file.origin) == (uri, owner.pk, File.Origin.EXECUTION)
    assert (file.path, file.size_bytes) == (f"/runs/{execution_id}/file.csv", 3)
    ((_, second),) = await run(kind, pins, user_id=owner.pk, execution_id=execution_id)
    assert second != uri


async def test_a_kept_file_is_read_by_its_owner_only(people):
    owner, stranger = people
    ((_, uri),) = await run("FileStore", {"file_in": "data:text/csv,a%0A1"}, user_id=owner.pk)
    assert await run("ReadSpreadsheet", {"file_input": uri}, user_id=owner.pk) == [("rows", [{"a": "1"}])]
    assert await run("FileRead", {"file_input": uri}, user_id=owner.pk) == [("content", "a\n1")]
    assert await run("FileStore", {"file_in": uri, "base_64": True}, user_id=owner.pk) == [
        ("file_out", "data:text/csv;base64,YQox")
    ]
    for user, reference in ((stranger, uri), (owner, f"workspace://{uuid.uuid4()}")):
        with pytest.raises(BlockError, match="no such file"):
            await run("FileRead", {"file_input": reference}, user_id=user.pk)
    with pytest.raises(BlockError, match="larger than"):
        await files_access.read_file(uri, context=context(user_id=owner.pk), max_bytes=2)


async def test_names_are_made_fit(people):
    owner, _ = people
    for name, kept in (("a/b\\c\n.txt", "a_b_c_.txt"), ("..", "file"), ("", "file"), ("ü .pdf ", "ü .pdf")):
        content = FileContent(name=name, mime_type="text/plain", content=b"x")
        uri = await files_access.keep_file(content, context=context(user_id=owner.pk))
        file = await db(File.objects.get, pk=uri.removeprefix("workspace://").partition("#")[0])
        assert file.name == kept


async def test_a_file_that_cant_be_kept_is_an_error(people, settings):
    settings.WORKSPACE_FILE_LIMIT_BYTES = 2
    with pytest.raises(BlockError, match="can't be kept"):
        await run("FileStore", {"file_in": "data:,xxx"}, user_id=people[0].pk)
    assert await db(File.objects.count) == 0


async def test_nothing_is_kept_in_a_dry_run(people):
    pins = {"name": "in", "value": "data:,x"}
    assert await run("AgentFileInput", pins, is_dry_run=True, user_id=people[0].pk) == [("result", "data:,x")]
    assert await db(File.objects.count) == 0
