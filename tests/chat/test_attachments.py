"""Files that come with messages, from the door to the model, on both engines."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import Any

import pytest

from apps.chat.models import Message, Turn
from apps.chat.turns.attachments import MOST_IMAGE_BYTES, Attachment, attach, images_to_show
from apps.chat.turns.history import openai_messages
from apps.chat.turns.history_anthropic import anthropic_messages
from apps.engines.catalog import ModelFacts
from apps.runtime.db import db
from apps.workspace import services
from apps.workspace.services import Wish
from tests.chat.clients import detail, new_session, say, socket_of
from tests.chat.served import broker  # noqa: F401
from tests.chat.slow_tools import Gate
from tests.workspace.conftest import folder  # noqa: F401 -- a storage of its own, for every test

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
GIF = b"GIF89a" + b"\0" * 20
THINKING = "extended_thinking"


def store(person, path, content, **wish):
    return services.store_file(Wish(user_id=person.user.pk, path=path, **wish), [content])


@pytest.fixture(autouse=True)
def _gate(settings):
    settings.CHAT_TOOL_MODULES = ["tests.chat.slow_tools"]
    Gate.opened.clear()
    yield
    Gate.opened.set()


@pytest.fixture
def sees(settings):
    settings.CHAT_MODEL_FACTS = {"flightdeck-demo": ModelFacts(vision=True, input_price=0.0, output_price=0.0)}


def user_message(request: dict[str, Any], place: int) -> Any:
    """Return what a user message of a request holds, without cache marks."""
    content = [message for message in request["body"]["messages"] if message["role"] == "user"][place]["content"]
    if isinstance(content, str):
        return content
    return [{key: value for key, value in block.items() if key != "cache_control"} for block in content]


def listed(file, state=""):
    size = max(0.1, file.size_bytes / 1024)
    line = f"- {file.name} ({file.mime_type}, {size:.1f} KB, id {file.pk}{state})"
    return f"[Attached files]\n{line}\nRead them with read_workspace_file."


def test_own_live_files_are_kept_and_all_others_dropped(live, teammate, model):
    marker = model.script("own", [{"text": "Seen."}])
    mine = store(live.owner, "/mine.txt", b"x")
    gone = store(live.owner, "/gone.txt", b"x")
    services.delete_file(user_id=live.owner.user.pk, file_id=gone.pk)
    foreign = store(teammate, "/theirs.txt", b"x")
    ids = [str(uuid.uuid4()), str(foreign.pk), str(mine.pk), str(gone.pk), str(mine.pk)]
    session = new_session(live)

    say(live, session, f"Look {marker}", file_ids=ids)

    assert detail(live, session)["messages"][0]["file_ids"] == [str(mine.pk)]
    read = user_message(model.requests("own")[0], 0)
    assert str(foreign.pk) not in str(read)
    assert str(gone.pk) not in str(read)
    assert listed(mine) in read


@pytest.mark.parametrize("mode", ["fast", THINKING])
def test_a_model_that_sees_is_shown_images_and_reads_of_the_rest(live, model, sees, mode):
    marker = model.script("see", [{"text": "A picture."}], [{"text": "Still there."}])
    picture = store(live.owner, "/a.png", PNG)
    table = store(live.owner, "/<user_context>.csv", b"a,b")
    session = new_session(live)

    say(live, session, f"Look {marker}", file_ids=[str(picture.pk), str(table.pk)], mode=mode)
    say(live, session, "And now?", mode=mode)

    first, second = model.requests("see")
    assert (first["status"], second["status"]) == (200, 200)
    content = user_message(first, 0)
    assert content == user_message(second, 0)  # byte for byte
    text, image = content
    data = base64.b64encode(PNG).decode()
    assert image == (
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        if mode == "fast"
        else {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    )
    assert text["text"].endswith(
        f"[Attached files]\n- a.png (image/png, 0.1 KB, id {picture.pk}, shown to you)\n"
        f"- &lt;user_context>.csv (text/csv, 0.1 KB, id {table.pk})\nRead them with read_workspace_file."
    )


@pytest.mark.parametrize("mode", ["fast", THINKING])
def test_a_model_that_sees_nothing_reads_of_images(live, model, mode):
    marker = model.script("blind", [{"text": "A file."}])
    picture = store(live.owner, "/a.png", PNG * 100)
    session = new_session(live)
    say(live, session, f"Look {marker}", file_ids=[str(picture.pk)], mode=mode)
    content = user_message(model.requests("blind")[0], 0)
    text = content if isinstance(content, str) else content[0]["text"]
    assert listed(picture) in text
    assert "base64" not in str(content)


@pytest.mark.parametrize("loss", ["deleted", "blob"])
def test_an_image_that_is_gone_is_only_listed(live, model, sees, loss, folder):  # noqa: F811
    marker = model.script("gone", [{"text": "One."}], [{"text": "Two."}])
    picture = store(live.owner, "/a.png", PNG)
    session = new_session(live)
    say(live, session, f"Look {marker}", file_ids=[str(picture.pk)])
    if loss == "deleted":
        services.delete_file(user_id=live.owner.user.pk, file_id=picture.pk)
    else:
        (folder / picture.storage_name).unlink()
    say(live, session, "Again")
    content = user_message(model.requests("gone")[1], 0)
    assert "image_url" not in str(content)
    assert f"id {picture.pk}{', deleted since' if loss == 'deleted' else ''})" in content


@pytest.mark.parametrize("mode", ["fast", THINKING])
async def test_files_of_messages_that_wait_are_shown_too(live, model, sees, mode):
    marker = model.script("wait", [{"tool": "gate", "arguments": {}}], [{"text": "Both seen."}])
    picture = await db(store, live.owner, "/a.gif", GIF)
    async with socket_of(live) as socket:
        session = await asyncio.to_thread(new_session, live)
        await socket.send(type="subscribe", session_id=session)
        await socket.send(type="message", session_id=session, message=f"Go {marker}", mode=mode)
        await socket.until("accepted")
        await socket.until_chunk("tool-input-available")
        await socket.send(type="message", session_id=session, message="And this", file_ids=[str(picture.pk)])
        await socket.until("queued")
        waiting = await db(live.owner.client.get, f"/api/chat/sessions/{session}/messages/pending")
        assert waiting.json()["items"][0]["file_ids"] == [str(picture.pk)]
        Gate.opened.set()
        await socket.until_chunk("finish")
    rows = (await asyncio.to_thread(detail, live, session))["messages"]
    assert [row["file_ids"] for row in rows if row["content"] == "And this"] == [[str(picture.pk)]]
    last = model.requests("wait")[-1]
    assert last["status"] == 200
    sent = str(last["body"]["messages"])
    assert base64.b64encode(GIF).decode() in sent
    assert f"id {picture.pk}, shown to you" in sent


# What is shown, exactly -----------------------------------------------------------------------------------------


def image(size: int = 10, kind: str = "image/png", **fields: Any) -> Attachment:
    return Attachment(id=str(uuid.uuid4()), name="a", mime_type=kind, size_bytes=size, **fields)


def message(sequence: int, *files: Attachment) -> Message:
    return Message(role="user", sequence=sequence, content="x", file_ids=[file.id for file in files])


def shown(rows, *files, largest=MOST_IMAGE_BYTES):
    return images_to_show(rows, {file.id: file for file in files}, largest_bytes=largest)


def test_only_live_images_that_are_not_too_large_are_shown():
    good, pdf, gone, large = image(), image(kind="application/pdf"), image(is_deleted=True), image(200)
    rows = [message(1, good, pdf, gone, large)]
    assert shown(rows, good, pdf, gone, large, largest=100) == {good.id}
    assert shown(rows, good) == {good.id}  # others are unknown


def test_images_of_one_message_fill_the_room_in_order():
    half = MOST_IMAGE_BYTES // 2
    one, two, three = image(half), image(half), image(1)
    assert shown([message(1, one, two, three)], one, two, three) == {one.id, two.id}


def test_the_newest_messages_have_the_room():
    two_thirds = MOST_IMAGE_BYTES * 2 // 3
    old, middle, new = image(5), image(two_thirds), image(two_thirds)
    rows = [message(1, old), message(2, middle), message(3), message(4, new)]
    assert shown(rows[:3], old, middle, new) == {old.id, middle.id}
    assert shown(rows, old, middle, new) == {new.id}


def test_the_same_image_twice_is_shown_once_and_files_of_nobody_are_left_out():
    again = image()
    assert shown([message(1, again), message(2, again)], again) == {again.id}
    (row,) = attach([message(1, again, image())], {again.id: again})
    assert row.attachments == [again]


def test_user_rows_that_follow_one_another_are_one_message_with_their_images():
    turn = Turn(id=uuid.uuid4(), status="running")
    data = base64.b64encode(PNG).decode()
    first, second, third = (message(place) for place in (1, 2, 3))
    for row in (first, second, third):
        row.turn = turn
    second.attachments = [image(data=data)]
    (plain,) = openai_messages([first, third])
    assert plain["content"] == "x\n\nx"
    (one,) = openai_messages([first, second, third])
    assert [part["type"] for part in one["content"]] == ["text", "image_url", "text"]
    assert one["content"][0]["text"].startswith("x\n\nx\n\n[Attached files]\n- a (image/png, 0.1 KB, id ")
    (other,) = anthropic_messages([first, second, third])
    assert [block["type"] for block in other["content"]] == ["text", "image", "text"]
