"""Sessions, messages, titles and stops over REST."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from apps.chat.models import Message, Session
from tests.chat.agents import new_agent
from tests.chat.clients import detail, new_session, sse_frames, text_of
from tests.chat.served import broker, eventually, signed_in, stop, stream_url  # noqa: F401 -- a fixture

SESSIONS = "/api/chat/sessions"


def path(session, tail=""):
    return f"{SESSIONS}/{session}{tail}"


def make(person, title="", **body):
    answer = person.client.post(SESSIONS, body, format="json")
    assert answer.status_code == 201, answer.content
    if title:
        assert (
            person.client.patch(path(answer.json()["id"], "/title"), {"title": title}, format="json").status_code == 200
        )
    return answer.json()["id"]


def add_messages(session, count):
    rows = [Message(session_id=session, sequence=n, role="user", content=f"message {n}") for n in range(1, count + 1)]
    Message.objects.bulk_create(rows)


def send(person, session, message="Hello", **fields):
    answer = person.client.post(path(session, "/stream"), {"message": message, **fields}, format="json")
    answer.close()
    return answer


# Ids of others --------------------------------------------------------------------------------------------------

ENDPOINTS = [
    ("get", "", None),
    ("get", "?limit=bad", None),
    ("delete", "", None),
    ("patch", "/title", {"title": "Mine now"}),
    ("patch", "/title", {"title": ""}),
    ("patch", "/title", [1]),
    ("post", "/cancel", None),
    ("post", "/fork", {"from_sequence": 1}),
    ("get", "/stream", None),
    ("get", "/stream?after=bad", None),
    ("post", "/stream", {"message": "Hello"}),
    ("post", "/stream", {"message": ""}),
    ("post", "/stream", "no object"),
    ("put", "", {}),
    ("post", "", {}),
    ("get", "/title", None),
    ("delete", "/stream", None),
    ("options", "", None),
]


def answer_facts(answer):
    headers = {name: value for name, value in answer.headers.items() if name not in {"X-Request-ID", "Date"}}
    return answer.status_code, answer.content, headers


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "tail", "body"), ENDPOINTS)
def test_foreign_unknown_and_deleted_ids_are_indistinguishable(owner, teammate, method, tail, body):
    foreign, deleted = make(teammate), make(owner)
    assert owner.client.delete(path(deleted)).status_code == 204

    ask = getattr(owner.client, method)
    foreign_answer, unknown, gone = (
        answer_facts(ask(path(one, tail), body, format="json")) for one in (foreign, uuid.uuid4(), deleted)
    )

    assert foreign_answer == unknown == gone
    if method in {"put", "options"} or (method, tail) in {("post", ""), ("get", "/title"), ("delete", "/stream")}:
        assert foreign_answer[0] in {200, 405}
    else:
        assert foreign_answer[:2] == (404, b'{"detail":"Not found."}') or foreign_answer[:2] == (
            404,
            b'{"detail": "Not found."}',
        )


@pytest.mark.django_db(transaction=True)
def test_a_foreign_session_is_untouched_by_attempts(owner, teammate):
    theirs = make(teammate, title="Private")
    for method, tail, body in ENDPOINTS:
        getattr(owner.client, method)(path(theirs, tail), body, format="json")
    body = teammate.client.get(path(theirs)).json()
    assert (body["title"], body["messages"], body["active_stream"]) == ("Private", [], None)


@pytest.mark.django_db(transaction=True)
def test_a_body_that_is_no_json_tells_nothing_about_a_foreign_session(owner, teammate):
    for tail in ("/title", "/stream"):
        ask = owner.client.patch if tail == "/title" else owner.client.post
        answers = [
            answer_facts(ask(path(one, tail), "{", content_type="application/json"))
            for one in (make(teammate), uuid.uuid4())
        ]
        assert answers[0] == answers[1]
        assert answers[0][0] == 404


@pytest.mark.parametrize("tail", ["", "/title", "/cancel", "/stream"])
@pytest.mark.parametrize("identifier", ["1", "x", "00000000-0000-0000-0000-00000000000g", "%00", "a" * 500])
def test_a_path_id_that_is_no_uuid_is_404(owner, identifier, tail):
    answer = owner.client.get(path(identifier, tail))
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "tail", "body"), ENDPOINTS[:13])
def test_strangers_get_401_everywhere(stranger, owner, method, tail, body):
    answer = getattr(stranger.client, method)(path(make(owner), tail), body, format="json")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Token"


def test_strangers_get_401_for_lists(stranger, db):
    for address in (SESSIONS, "/api/chat/suggested-prompts", "/api/accounts/tokens"):
        assert stranger.client.get(address).status_code == 401
        assert stranger.client.post(address, {}, format="json").status_code == 401


# Sessions -------------------------------------------------------------------------------------------------------


def test_a_new_session_is_empty_and_listed(owner):
    answer = owner.client.post(SESSIONS, {"dry_run": True}, format="json")
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"id", "title", "created_at", "updated_at", "is_processing", "metadata"}
    assert (body["title"], body["is_processing"], body["metadata"]) == ("", False, {"dry_run": True})
    listed = owner.client.get(SESSIONS).json()
    assert listed == {"sessions": [body], "total": 1}


def test_a_session_shows_all_fields(owner):
    session = make(owner)
    body = owner.client.get(path(session)).json()
    assert set(body) == {
        "id", "title", "created_at", "updated_at", "metadata", "messages", "has_more_messages", "oldest_sequence",
        "total_prompt_tokens", "total_completion_tokens", "active_stream",
    }  # fmt: skip
    assert (body["messages"], body["has_more_messages"], body["oldest_sequence"]) == ([], False, None)


@pytest.mark.parametrize(
    "body",
    [{"titel": "x"}, {"dry_run": "perhaps"}, {"dry_run": None}, {"dry_run": True, "builder_graph_id": "g"}, [], "x"],
)
def test_a_session_is_not_made_from_bad_input(owner, body):
    answer = owner.client.post(SESSIONS, body, format="json")
    assert answer.status_code == 400
    assert owner.client.get(SESSIONS).json()["total"] == 0


def test_an_unknown_key_is_named(owner):
    answer = owner.client.post(SESSIONS, {"nope": 1}, format="json")
    assert (answer.status_code, answer.json()) == (400, {"nope": ["Unknown field."]})


def test_a_graph_that_is_in_nobodys_library_is_404(owner):
    answer = owner.client.post(SESSIONS, {"builder_graph_id": "g"}, format="json")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
    assert owner.client.post(SESSIONS, {"builder_graph_id": "g" * 129}, format="json").status_code == 400


def test_only_ones_own_sessions_are_listed(owner, teammate):
    mine = make(owner)
    make(teammate)
    assert [row["id"] for row in owner.client.get(SESSIONS).json()["sessions"]] == [mine]


def test_lists_come_in_pages(owner):
    made = [make(owner) for _ in range(5)]
    pages = [owner.client.get(SESSIONS, {"limit": 2, "offset": offset}).json() for offset in (0, 2, 4, 6)]
    assert [page["total"] for page in pages] == [5] * 4
    assert [row["id"] for page in pages for row in page["sessions"]] == made[::-1]


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("offset", [0, 10**9])
def test_pages_take_limits_within_bounds(owner, limit, offset):
    assert owner.client.get(SESSIONS, {"limit": limit, "offset": offset}).status_code == 200


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"limit": "9" * 5000}, {"offset": -1}, {"offset": 10**9 + 1}],
)
def test_pages_refuse_limits_out_of_bounds(owner, query):
    answer = owner.client.get(SESSIONS, query)
    assert answer.status_code == 400
    assert list(answer.json()) == list(query)


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"before_sequence": -1}, {"before_sequence": 2**31}])
def test_message_pages_refuse_limits_out_of_bounds(owner, query):
    answer = owner.client.get(path(make(owner)), query)
    assert answer.status_code == 400
    assert list(answer.json()) == list(query)


def test_search_finds_titles(owner):
    make(owner, title="Plan the garden")
    found = make(owner, title="Größe 100%_\\ of 🦊")
    for text in ("größe", "100%", "%_", "_\\", "🦊"):
        answer = owner.client.get(SESSIONS, {"search": text}).json()
        if text != "größe":  # SQLite folds only ASCII
            assert [row["id"] for row in answer["sessions"]] == [found], text
            assert answer["total"] == 1
    assert owner.client.get(SESSIONS, {"search": "nowhere"}).json() == {"sessions": [], "total": 0}
    assert owner.client.get(SESSIONS, {"search": ""}).json()["total"] == 2
    assert owner.client.get(SESSIONS, {"search": "x" * 201}).status_code == 400
    assert owner.client.get(f"{SESSIONS}?search=%00").status_code == 400
    assert owner.client.get(f"{SESSIONS}?search=%ff%ed%a0%80").status_code == 200


@pytest.mark.parametrize("title", ["x", "  padded  ", "é" * 200, " " + "x" * 200 + "\n", "<b>&amp;</b>"])
def test_a_title_is_trimmed_and_kept(owner, title):
    session = make(owner)
    answer = owner.client.patch(path(session, "/title"), {"title": title}, format="json")
    assert (answer.status_code, answer.json()) == (200, {"title": title.strip()})
    assert owner.client.get(path(session)).json()["title"] == title.strip()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": ""},
        {"title": " \n"},
        {"title": "x" * 201},
        {"title": None},
        {"title": "a\x00"},
        {"title": {}},
        {"title": "a", "id": 1},
    ],
)
def test_a_bad_title_is_refused(owner, body):
    session = make(owner, title="Before")
    assert owner.client.patch(path(session, "/title"), body, format="json").status_code == 400
    assert owner.client.get(path(session)).json()["title"] == "Before"


def test_a_title_with_a_lone_surrogate_is_refused(owner):
    session = make(owner)
    answer = owner.client.patch(path(session, "/title"), '{"title": "\\ud800"}', content_type="application/json")
    assert answer.status_code == 400


def test_a_deleted_session_is_gone(owner):
    session, other = make(owner), make(owner)
    assert owner.client.delete(path(session)).status_code == 204
    assert owner.client.get(path(session)).status_code == 404
    assert [row["id"] for row in owner.client.get(SESSIONS).json()["sessions"]] == [other]


# Messages -------------------------------------------------------------------------------------------------------


def test_messages_come_newest_page_first_in_ascending_order(owner):
    session = make(owner)
    add_messages(session, 5)
    seen, before = [], {}
    for has_more in (True, True, False):
        body = owner.client.get(path(session), {"limit": 2, **before}).json()
        places = [row["sequence"] for row in body["messages"]]
        assert places == sorted(places)
        assert body["has_more_messages"] is has_more
        assert body["oldest_sequence"] == places[0]
        seen = places + seen
        before = {"before_sequence": body["oldest_sequence"]}
    assert seen == [1, 2, 3, 4, 5]
    assert owner.client.get(path(session), before).json()["messages"] == []


def test_messages_show_what_people_may_see(owner):
    session = make(owner)
    Message.objects.create(
        session_id=session, sequence=1, role="user", content="x", context={"content": "page"}, provider_blocks=[1]
    )
    row = owner.client.get(path(session)).json()["messages"][0]
    assert set(row) == {
        "id", "sequence", "turn_id", "step", "role", "kind", "content", "tool_calls", "tool_call_id", "is_error",
        "metadata", "duration_ms", "file_ids", "client_message_id", "created_at",
    }  # fmt: skip


@pytest.mark.parametrize("rows", [1, 3])
def test_lists_cost_the_same_however_long(owner, rows, django_assert_num_queries):
    for _ in range(rows):
        session = make(owner)
        add_messages(session, rows)
    for _ in range(rows - 1):
        owner.client.post("/api/accounts/tokens", {"name": "more"}, format="json")
    with django_assert_num_queries(3):  # the token, the page, the total
        assert len(owner.client.get(SESSIONS).json()["sessions"]) == rows
    with django_assert_num_queries(4):  # the token, the session, its turn in flight, the page
        assert len(owner.client.get(path(session)).json()["messages"]) == rows
    with django_assert_num_queries(3):
        assert len(owner.client.get("/api/accounts/tokens").json()["tokens"]) == rows


def test_the_list_of_sessions_loads_no_message(owner, django_assert_num_queries):
    add_messages(make(owner), 3)
    with django_assert_num_queries(3) as seen:
        owner.client.get(SESSIONS)
    assert not any("chat_message" in query["sql"] for query in seen.captured_queries)


# Sending --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_busy_session_lets_a_message_wait(owner):
    session = make(owner)
    assert send(owner, session, "First").status_code == 200
    waits = send(owner, session, "Second")
    assert waits.status_code == 202
    assert waits.json() == {"buffer_length": 1, "max_buffer_length": 10, "turn_in_flight": True}
    body = owner.client.get(path(session)).json()
    assert [row["content"] for row in body["messages"]] == ["First"]
    assert body["active_stream"]["status"] == "queued"
    assert owner.client.get(SESSIONS).json()["sessions"][0]["is_processing"] is True


@pytest.mark.django_db(transaction=True)
def test_the_newest_activity_comes_first(owner):
    first, second = make(owner), make(owner)
    assert [row["id"] for row in owner.client.get(SESSIONS).json()["sessions"]] == [second, first]
    send(owner, first)
    assert [row["id"] for row in owner.client.get(SESSIONS).json()["sessions"]] == [first, second]


@pytest.mark.django_db(transaction=True)
def test_the_first_message_gives_the_title_and_a_chosen_one_stays(owner):
    named, unnamed = make(owner, title="Chosen"), make(owner)
    for session in (named, unnamed):
        send(owner, session, "  Hello\n there " + "x" * 100)
    titles = {row["id"]: row["title"] for row in owner.client.get(SESSIONS).json()["sessions"]}
    assert titles[named] == "Chosen"
    assert titles[unnamed].startswith("Hello there xxx")
    assert len(titles[unnamed]) == 60


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("message", ["x", "  x  ", "🦊" * 64_000, " " + "x" * 64_000 + " "], ids=len)
def test_a_message_within_bounds_is_stored_trimmed(owner, message):
    session = make(owner)
    assert send(owner, session, message).status_code == 200
    assert owner.client.get(path(session)).json()["messages"][0]["content"] == message.strip()


BAD_MESSAGES = {
    "missing": "{}",
    "empty": '{"message": ""}',
    "blank": '{"message": " \\n\\u2003"}',
    "long": json.dumps({"message": "x" * 64_001}),
    "null": '{"message": null}',
    "list": '{"message": ["x"]}',
    "object": '{"message": {}}',
    "true": '{"message": true}',
    "nul": '{"message": "a\\u0000b"}',
    "lone high": '{"message": "a\\ud83d"}',
    "lone low": '{"message": "\\udc00"}',
    "swapped": '{"message": "\\udc00\\ud800"}',
    "mode": '{"message": "x", "mode": "slow"}',
    "model": '{"message": "x", "model": 1}',
    "client id": '{"message": "x", "client_message_id": "1"}',
    "client id null": '{"message": "x", "client_message_id": null}',
    "file ids": '{"message": "x", "file_ids": ["1"]}',
    "many files": json.dumps({"message": "x", "file_ids": [str(uuid.UUID(int=n)) for n in range(21)]}),
    "url": '{"message": "x", "context": {"url": "%s"}}' % ("x" * 2001),
    "page": '{"message": "x", "context": {"content": "%s"}}' % ("x" * 32_001),
    "context": '{"message": "x", "context": []}',
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("body", BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_a_bad_message_is_refused_and_not_stored(owner, body):
    session = make(owner)
    answer = owner.client.post(path(session, "/stream"), body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert owner.client.get(path(session)).json()["messages"] == []


@pytest.mark.django_db(transaction=True)
def test_a_message_takes_all_its_fields_at_their_bounds(owner):
    session = make(owner)
    fields = {
        "context": {"url": "u" * 2000, "content": "c" * 32_000, "ignored": [1]},
        "file_ids": [str(uuid.UUID(int=n)) for n in range(20)],
        "mode": "fast",
        "model": "advanced",
        "client_message_id": str(uuid.uuid4()),
    }
    assert send(owner, session, "x", **fields).status_code == 200
    row = owner.client.get(path(session)).json()["messages"][0]
    assert row["client_message_id"] == fields["client_message_id"]
    assert row["content"] == "x"
    assert row["file_ids"] == []  # unknown ones are dropped


@pytest.mark.django_db(transaction=True)
def test_the_same_client_id_makes_one_message(owner):
    session = make(owner)
    client_id = str(uuid.uuid4())
    assert send(owner, session, client_message_id=client_id).status_code == 200
    assert send(owner, session, client_message_id=client_id).status_code == 200
    assert len(owner.client.get(path(session)).json()["messages"]) == 1


def test_ten_sends_of_one_message_at_once_make_one_turn(live, model):
    marker = model.script("once", [{"text": "Only once"}])
    session = new_session(live)
    body = {"message": marker, "client_message_id": str(uuid.uuid4())}
    gate = threading.Barrier(10)

    def post(_):
        gate.wait(10)
        return httpx2.post(stream_url(live, session), headers=live.owner.headers, json=body, timeout=30)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(post, range(10)))

    assert {answer.status_code for answer in answers} == {200}
    told = [[chunk for _, chunk in sse_frames(answer.text)] for answer in answers]
    # One who comes late may get what rows hold instead of the log's events; it says the same.
    assert {(chunks[0]["messageId"], text_of(chunks[:-1]), chunks[-2]["type"], chunks[-1]) for chunks in told} == {
        (told[0][0]["messageId"], "Only once", "finish", "[DONE]")
    }
    assert [row["role"] for row in detail(live, session)["messages"]] == ["user", "assistant"]
    assert len(model.requests("once")) == 1


# Stopping and deleting ------------------------------------------------------------------------------------------


def test_nothing_to_stop_is_no_error(owner):
    answer = owner.client.post(path(make(owner), "/cancel"))
    assert (answer.status_code, answer.json()) == (200, {"cancelled": True, "reason": "no_active_turn"})


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_waits_is_stopped_at_once(owner):
    session = make(owner)
    send(owner, session)
    assert owner.client.post(path(session, "/cancel")).json() == {"cancelled": True}
    body = owner.client.get(path(session)).json()
    assert body["active_stream"] is None
    assert [(row["role"], row["kind"]) for row in body["messages"]] == [("user", ""), ("system", "stopped")]
    assert send(owner, session).status_code == 200


def test_deleting_a_session_ends_its_turn_and_its_readers(live, model):
    marker = model.script("doomed", [{"text": "Begun"}, {"sleep": 60}])
    session = new_session(live)
    with httpx2.stream(
        "POST", stream_url(live, session), headers=live.owner.headers, json={"message": marker}, timeout=20
    ) as answer:
        lines = answer.iter_lines()
        seen = ""
        while "Begun" not in seen:
            seen += next(lines) + "\n"
        assert httpx2.delete(f"{live.url}{path(session)}", headers=live.owner.headers).status_code == 204
        rest = sse_frames("\n".join(lines) + "\n\n")
    kinds = [chunk if chunk == "[DONE]" else chunk["type"] for _, chunk in rest]
    assert kinds[-2:] == ["finish", "[DONE]"]
    eventually(lambda: live.turns.worker.running == 0)
    assert httpx2.get(f"{live.url}{path(session)}", headers=live.owner.headers).status_code == 404
    assert not Session.objects.exists()


def test_a_stopped_turn_keeps_what_it_said(live, model):
    marker = model.script("halted", [{"text": "Half an answer"}, {"sleep": 60}])
    session = new_session(live)
    with httpx2.stream(
        "POST", stream_url(live, session), headers=live.owner.headers, json={"message": marker}, timeout=20
    ) as answer:
        lines = answer.iter_lines()
        seen = ""
        while "Half" not in seen:
            seen += next(lines) + "\n"
        assert stop(live, session) == {"cancelled": True}
        rest = [chunk for _, chunk in sse_frames("\n".join(lines) + "\n\n")]
    assert [chunk["type"] for chunk in rest[-3:-1]] == ["abort", "finish"]
    body = detail(live, session)
    assert [(row["role"], row["kind"]) for row in body["messages"][1:]] == [("assistant", ""), ("system", "stopped")]
    assert body["messages"][1]["content"] == "Half an answer"
    assert body["active_stream"] is None


# Browsers, methods, formats -------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_browser_needs_the_csrf_token_for_writes(owner):
    browser = signed_in(owner, enforce_csrf_checks=True)
    session = make(owner)
    for address in (SESSIONS, path(session, "/cancel"), path(session, "/stream")):
        answer = browser.post(address, '{"message": "x"}', content_type="application/json")
        assert answer.status_code == 403, address
        assert "CSRF" in answer.json()["detail"]
    assert browser.get(path(session)).json()["messages"] == []

    browser.get("/accounts/login/")
    browser.get("/settings/tokens")
    token = browser.cookies["csrftoken"].value
    answer = browser.post(
        path(session, "/stream"), {"message": "x"}, content_type="application/json", headers={"X-CSRFToken": token}
    )
    answer.close()
    assert answer.status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("", "GET, DELETE, HEAD, OPTIONS"),
        ("/title", "PATCH, OPTIONS"),
        ("/cancel", "POST, OPTIONS"),
        ("/fork", "POST, OPTIONS"),
        ("/stream", "GET, POST"),
    ],
)
def test_other_methods_are_405(owner, address, allowed):
    answer = owner.client.put(path(make(owner), address), {}, format="json")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == allowed
    assert answer.json() == {"detail": 'Method "PUT" not allowed.'}


@pytest.mark.parametrize("address", [SESSIONS, "/api/chat/suggested-prompts", "/api/accounts/tokens", "session"])
def test_a_signed_in_browser_gets_pages_of_the_api(owner, address):
    address = path(make(owner)) if address == "session" else address
    answer = signed_in(owner).get(address, headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"Flightdeck" in answer.content or b"Django REST framework" in answer.content


def test_the_api_answers_programs_with_json(owner):
    answer = owner.client.get(SESSIONS)
    assert answer.headers["Content-Type"] == "application/json"


def prompts_of(person):
    answer = person.client.get("/api/chat/suggested-prompts")
    assert answer.status_code == 200
    assert set(answer.json()) == {"prompts"}
    return answer.json()["prompts"]


def test_four_prompts_are_suggested_to_somebody_without_agents(owner, teammate):
    new_agent(teammate, name="Theirs")
    prompts = prompts_of(owner)
    assert len(prompts) == len(set(prompts)) == 4
    assert not any("Theirs" in prompt for prompt in prompts)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_prompts_are_made_from_ones_latest_agents(owner, teammate, count):
    for number in range(count):
        new_agent(owner, name=f"Agent {number}")
    prompts = prompts_of(owner)
    assert len(prompts) == len(set(prompts)) == 4
    named = {number for number in range(count) if any(f"“Agent {number}”" in prompt for prompt in prompts)}
    assert named == set(range(count)[-3:])
    page = signed_in(owner).get(reverse("copilot")).content.decode()
    assert all(escape(prompt) in page for prompt in prompts)
    assert not any("Agent" in prompt and "“" in prompt for prompt in prompts_of(teammate))


def test_prompts_pass_archived_agents_over_and_shorten_names(owner):
    archived, _ = new_agent(owner, name="Put away")
    new_agent(owner, name="A {} \n <b>name</b> " + "x" * 150)
    owner.client.patch(f"/api/library/agents/{archived}", {"is_archived": True}, format="json")
    prompts = prompts_of(owner)
    assert not any("Put away" in prompt for prompt in prompts)
    assert "“A {} <b>name</b> xxx" in prompts[0]
    assert all(len(prompt) <= 120 and "\n" not in prompt for prompt in prompts)


@pytest.mark.parametrize("count", [1, 3])
def test_prompts_cost_the_same_however_many_agents_there_are(owner, count, django_assert_num_queries):
    for _ in range(count):
        new_agent(owner)
    with django_assert_num_queries(2):  # the token, the agents
        prompts_of(owner)


def test_requests_are_taken_while_redis_is_away(owner, monkeypatch, settings):
    cache = dict(django_settings.CACHES["default"], LOCATION="redis://127.0.0.1:1/0")
    settings.CACHES = {"default": cache}
    assert owner.client.get(SESSIONS).status_code == 200


def test_too_many_requests_are_429(owner, monkeypatch):
    monkeypatch.setattr("apps.runtime.rest.PatientThrottle.THROTTLE_RATES", {"user": "2/min"})
    answers = [owner.client.get(SESSIONS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_a_session_cookie_of_nobody_is_401(db):
    browser = Client()
    browser.cookies["sessionid"] = "x" * 32
    assert browser.get(SESSIONS).status_code == 401
