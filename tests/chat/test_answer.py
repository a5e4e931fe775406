"""Ask, stream, reload: the main job, over HTTP and the websocket."""

import pytest

from tests.chat.clients import detail, new_session, say, socket_of, text_of

pytestmark = pytest.mark.broker


def test_an_answer_is_streamed_and_stored(live, model):
    marker = model.script("plain", [{"reasoning": "Let me think."}, {"text": "Hello there, how are you?", "chunk": 4}])
    session = new_session(live)

    frames = say(live, session, f"Hi {marker}")

    chunks = [chunk for _, chunk in frames]
    assert chunks[-1] == "[DONE]"
    chunks = chunks[:-1]
    assert chunks[0]["type"] == "start"
    assert text_of(chunks) == "Hello there, how are you?"
    assert chunks[-1] == {"type": "finish"}
    rows = detail(live, session)["messages"]
    assert [(row["role"], row["content"]) for row in rows] == [
        ("user", f"Hi {marker}"),
        ("reasoning", "Let me think."),
        ("assistant", "Hello there, how are you?"),
    ]
    assert detail(live, session)["active_stream"] is None


def test_tools_run_between_two_model_calls(live, model):
    todos = [{"content": "Write it", "activeForm": "Writing it", "status": "pending"}]
    marker = model.script(
        "plan", [{"tool": "todo_write", "arguments": {"todos": todos}, "parts": 3}], [{"text": "There is your plan."}]
    )
    session = new_session(live)

    chunks = [chunk for _, chunk in say(live, session, f"Plan {marker}")][:-1]

    kinds = [chunk["type"] for chunk in chunks if not chunk["type"].startswith(("data-", "message-metadata"))]
    assert kinds.index("tool-input-start") < kinds.index("tool-input-available") < kinds.index("tool-output-available")
    assert kinds[kinds.index("tool-output-available") + 1] == "finish-step"
    output = next(chunk["output"] for chunk in chunks if chunk["type"] == "tool-output-available")
    assert output["type"] == "todo_write"
    assert text_of(chunks) == "There is your plan."
    second = model.requests("plan")[1]["body"]["messages"]
    assert [message["role"] for message in second] == ["system", "user", "assistant", "tool"]


async def test_the_websocket_gets_the_same(live, model):
    marker = model.script("ws", [{"text": "One two three four", "chunk": 3}])
    session = new_session(live)
    async with socket_of(live) as socket:
        await socket.send(type="subscribe", session_id=session)
        assert (await socket.until("subscribed"))["turn"] is None
        turn = await socket.say(session, marker)
        await socket.until_chunk("finish")
    events = socket.events()
    assert {event["turn_id"] for event in events} == {turn}
    assert text_of([event["chunk"] for event in events]) == "One two three four"
