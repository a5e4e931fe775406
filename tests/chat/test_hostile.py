"""Bodies that nobody means well by."""

import gzip
import json
import zlib

import pytest

SESSIONS = "/api/chat/sessions"
LIMIT = 1024 * 1024


@pytest.fixture
def session(owner):
    return owner.client.post(SESSIONS, {}, format="json").json()["id"]


@pytest.fixture(params=["POST sessions", "PATCH title", "POST stream", "POST tokens"])
def send(request, owner, transactional_db, session):
    method, what = request.param.split()
    address = {
        "sessions": SESSIONS,
        "title": f"{SESSIONS}/{session}/title",
        "stream": f"{SESSIONS}/{session}/stream",
        "tokens": "/api/accounts/tokens",
    }[what]

    def post(body, content_type="application/json", **headers):
        return owner.client.generic(method, address, body, content_type=content_type, headers=headers)

    return post


def padded(size):
    """Return a JSON object of so many bytes."""
    return b'{"x":"' + b"a" * (size - 8) + b'"}'


def test_a_body_over_the_limit_is_413(send):
    answer = send(padded(LIMIT + 1))
    assert answer.status_code == 413
    assert answer.json() == {"detail": "The body is too large; at most 1 MiB is taken."}


def test_a_body_at_the_limit_is_read(send):
    assert send(padded(LIMIT)).status_code == 400  # it lacks the fields


DEEP = 100_000
HOSTILE = {
    "nested arrays": b"[" * DEEP + b"]" * DEEP,
    "nested objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "open arrays": b"[" * DEEP,
    "deep field": b'{"message":' + b"[" * 100 + b"]" * 100 + b"}",
    "huge integer": b'{"message":' + b"9" * 100_000 + b"}",
    "huge exponent": b'{"name": [1e999999], "message": [1e999999], "title": [1e999999], "dry_run": 1e999999}',
    "not a number": b'{"message": NaN}',
    "infinity": b'{"message": -Infinity}',
    "null": b"null",
    "array": b"[]",
    "array of objects": b'[{"message": "x", "title": "x", "name": "x"}]',
    "string": b'"x"',
    "number": b"1",
    "true": b"true",
    "half": b'{"message": "x',
    "two": b'{"message": "x"}{"message": "y"}',
    "blank": b"   ",
    "single quotes": b"{'message': 'x'}",
    "invalid UTF-8": b'{"message": "\xff\xfe", "title": "\xff", "name": "\xff"}',
    "surrogates in UTF-8": b'{"message": "\xed\xa0\x80", "title": "\xed\xa0\x80", "name": "\xed\xa0\x80"}',
    "UTF-16": '{"message": "x", "title": "x", "name": "x"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"message": "x", "title": "x", "name": "x"}',
    "lone surrogate": b'{"message": "\\ud800", "title": "\\ud800", "name": "\\ud800", "dry_run": "\\ud800"}',
    "NUL": b'{"message": "\\u0000", "title": "\\u0000", "name": "\\u0000", "dry_run": "\\u0000"}',
    "surrogate in a key": b'{"message": "x", "title": "x", "name": "x", "\\udfff": 1}',
    "NUL bytes": b"\x00" * 100,
    "objects": b'{"message": {}, "title": {}, "name": {}, "dry_run": {}}',
    "wrong context": b'{"message": "x", "context": "x", "title": 1, "name": "", "dry_run": []}',
}
TAKES_NO_UNKNOWN_KEYS = {"surrogate in a key"}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_400(send, body):
    answer = send(body)
    if answer.status_code == 200 and body == HOSTILE["wrong context"]:
        assert answer.json() == {"title": "1"}  # a number is taken for its text
        return
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert len(answer.content) < 2000


def test_an_empty_body_is_400_where_fields_are_required(send, request):
    answer = send(b"")
    assert answer.status_code == (201 if request.node.callspec.params["send"] == "POST sessions" else 400)
    getattr(answer, "close", bool)()


def test_of_a_repeated_key_the_last_value_counts(owner, session):
    body = '{"title": "first", "title": "second"}'
    answer = owner.client.patch(f"{SESSIONS}/{session}/title", body, content_type="application/json")
    assert answer.json() == {"title": "second"}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/xml",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; charset=zlib",
        "application/json; charset=hex",
        "application/json; charset=idna",
        "application/json; charset=no-such-thing",
        "nonsense",
        "a/b/c;;;=",
    ],
)
def test_what_is_no_json_in_utf8_is_415(send, content_type):
    assert send(b'{"message": "x", "title": "x", "name": "x"}', content_type).status_code == 415


def test_a_packed_body_is_never_unpacked(send):
    bomb = zlib.compress(b'{"title": "' + b"a" * (50 * LIMIT) + b'"}')
    assert len(bomb) < LIMIT
    assert send(bomb, "application/json; charset=zlib").status_code == 415
    assert send(gzip.compress(b"{}"), **{"Content-Encoding": "gzip"}).status_code == 400


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "utf8", '"utf-8"'])
def test_utf8_may_be_named(owner, session, charset):
    body = json.dumps({"title": "Größe 🦊"}, ensure_ascii=False).encode()
    answer = owner.client.generic(
        "PATCH", f"{SESSIONS}/{session}/title", body, content_type=f"application/json; charset={charset}"
    )
    assert answer.json() == {"title": "Größe 🦊"}


def test_a_form_from_a_signed_in_browser_is_415(owner, session):
    from tests.chat.served import signed_in

    browser = signed_in(owner)
    assert browser.post(f"{SESSIONS}/{session}/cancel", {"x": "y"}).status_code == 200  # it has no body to read
    assert browser.post(SESSIONS, {"dry_run": "true"}).status_code == 415


@pytest.mark.parametrize(
    "header",
    ["Token", "Token ", "Token x", "Token \xff", "Token a b", "Bearer x", "token " + "x" * 10_000, "Token fd_\x00"],
)
def test_a_broken_authorization_is_401(header, db, client):
    assert client.get(SESSIONS, headers={"Authorization": header}).status_code == 401
