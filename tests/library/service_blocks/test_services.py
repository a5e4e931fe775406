"""Blocks that call other services, against real HTTP servers that speak their API."""

from __future__ import annotations

import asyncio
import base64

import pytest
from pydantic import ValidationError

from apps.library.blocks import discord, github_calls, service_call, slack, telegram
from apps.library.blocks.authenticated_web import SendAuthenticatedWebRequest
from apps.library.blocks.base import Secret
from apps.library.blocks.discord import ReadDiscordMessages, SendDiscordMessage
from apps.library.blocks.github import (
    GithubAddLabel,
    GithubComment,
    GithubListIssues,
    GithubListPullRequests,
    GithubMakeIssue,
    GithubMakePullRequest,
    GithubReadIssue,
    GithubReadPullRequest,
)
from apps.library.blocks.github_files import GithubCreateFile, GithubReadFile, GithubUpdateFile
from apps.library.blocks.slack import SendSlackMessage
from apps.library.blocks.telegram import SendTelegramMessage
from apps.library.errors import BlockError
from tests.library.service_blocks.conftest import CREDENTIALS, context_for, run_block

BOT_TOKEN = "123456:AAbbCC"
REPO = {**CREDENTIALS, "repo_url": "https://github.com/octo/cat"}
ISSUE = {**CREDENTIALS, "issue_url": "https://github.com/octo/cat/issues/7"}
SLACK = {**CREDENTIALS, "channel": "#general", "text": "Hello"}
TELEGRAM = {**CREDENTIALS, "chat_id": 5, "text": "Hello"}
CHANNEL = "123456789012345678"
DISCORD = {**CREDENTIALS, "message_content": "Hello", "channel_name": CHANNEL}


@pytest.fixture(autouse=True)
def reach(service, monkeypatch):
    """The services' addresses lead to this machine; waits are short."""
    for module in (slack, telegram, discord, github_calls):
        monkeypatch.setattr(module, "API_URL", service.url)
    slept = []
    real = asyncio.sleep

    async def sleep(seconds):
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(service_call.asyncio, "sleep", sleep)
    service.slept = slept
    return service


# What goes wrong alike everywhere ---------------------------------------------------------------------------------

EVERYBODY = [
    (SendSlackMessage, SLACK, "slack", "POST /chat.postMessage"),
    (SendTelegramMessage, TELEGRAM, "telegram", f"POST /bot{BOT_TOKEN}/sendMessage"),
    (SendDiscordMessage, DISCORD, "discord", f"POST /channels/{CHANNEL}/messages"),
    (GithubReadIssue, ISSUE, "github", "GET /repos/octo/cat/issues/7"),
]


@pytest.mark.parametrize(("block", "data", "provider", "place"), EVERYBODY)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {"message": "Bad credentials"}), "doesn't accept the credential"),
        ((403, {"message": "Not for you"}), "doesn't allow this: Not for you"),
        ((404, {}), "doesn't have this"),
        ((422, {"message": "Too short"}), r"refuses this \(422\): Too short"),
        ((500, b"<html>"), r"has a problem right now \(500\)"),
        ((429, {}, {"Retry-After": "3600"}), "asked too often"),
        ((200, b"<html>"), "can't be understood"),
        ((200, []), "can't be understood"),
        ((200, {"ok": True}), "can't be understood"),
        ((302, {}, {"Location": "http://example.invalid/"}), "can't be reached|isn't followed"),
    ],
)
async def test_refusals_are_told_in_words(reach, api_key, block, data, provider, place, answer, words):
    method, path = place.split(" ")
    reach.on(method, path, answer)
    with pytest.raises(BlockError, match=words) as caught:
        await run_block(block, data, api_key(provider, api_key=BOT_TOKEN))
    assert BOT_TOKEN not in str(caught.value)
    assert reach.place not in str(caught.value)


@pytest.mark.parametrize(("block", "data", "provider", "place"), EVERYBODY)
async def test_a_short_wait_is_waited(reach, api_key, block, data, provider, place):
    good = {
        "ok": True, "ts": "1.2", "channel": "C1", "result": {"message_id": 1}, "id": "5", "title": "t",
        "user": {"login": "u"},
    }  # fmt: skip
    limited = (429, {"retry_after": 0.5, "parameters": {"retry_after": 0.5}})
    reach.on(*place.split(" "), limited, (200, good))
    assert await run_block(block, data, api_key(provider, api_key=BOT_TOKEN))
    assert [seconds for seconds in reach.slept if seconds != 0.1] == [0.5]  # web servers of other tests tick
    assert len(reach.requests) == 2


@pytest.mark.parametrize(("block", "data", "provider", "place"), EVERYBODY)
async def test_without_a_credential_nothing_is_sent(reach, block, data, provider, place):
    with pytest.raises(BlockError, match="needs a credential"):
        await run_block(block, data, context_for())
    assert not reach.requests


@pytest.mark.parametrize(("block", "data", "provider", "place"), EVERYBODY)
def test_an_input_that_is_missing_is_refused(block, data, provider, place):
    for name in data:
        if block.Input.model_fields[name].is_required():
            with pytest.raises(ValidationError):
                block.Input.model_validate({key: value for key, value in data.items() if key != name})


async def test_a_service_that_is_away_is_told(api_key, monkeypatch):
    monkeypatch.setattr(slack, "API_URL", "http://127.0.0.1:9")
    with pytest.raises(BlockError, match="Slack: "):
        await run_block(SendSlackMessage, SLACK, api_key("slack"))


# Slack, Telegram, Discord -----------------------------------------------------------------------------------------


async def test_a_slack_message(reach, api_key):
    reach.on("POST", "/chat.postMessage", (200, {"ok": True, "ts": "17.5", "channel": "C9"}))
    found = await run_block(SendSlackMessage, {**SLACK, "thread_ts": "1.1"}, api_key("slack", access_token="xoxb"))
    assert found == {"ts": ["17.5"], "channel": ["C9"]}
    [asked] = reach.requests
    assert asked.headers["authorization"] == "Bearer xoxb"
    assert asked.json() == {
        "channel": "#general", "text": "Hello", "thread_ts": "1.1", "unfurl_links": True, "mrkdwn": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "words"), [("invalid_auth", "credential"), ("channel_not_found", "no such channel"), ("odd", "odd")]
)
async def test_slacks_own_refusals(reach, api_key, code, words):
    reach.on("POST", "/chat.postMessage", (200, {"ok": False, "error": code}))
    with pytest.raises(BlockError, match=words):
        await run_block(SendSlackMessage, SLACK, api_key("slack"))


async def test_a_telegram_message(reach, api_key):
    reach.on("POST", f"/bot{BOT_TOKEN}/sendMessage", (200, {"ok": True, "result": {"message_id": 77}}))
    data = {**TELEGRAM, "parse_mode": "HTML", "reply_to_message_id": 3, "disable_notification": True}
    found = await run_block(SendTelegramMessage, data, api_key("telegram", api_key=BOT_TOKEN))
    assert found == {"message_id": [77], "status": ["Message sent"]}
    assert reach.requests[0].json() == {
        "chat_id": 5,
        "text": "Hello",
        "parse_mode": "HTML",
        "reply_parameters": {"message_id": 3},
        "disable_notification": True,
    }


@pytest.mark.parametrize("token", ["", "x", "1:a/../../other", "1:a?x=1"])
async def test_a_telegram_token_can_not_change_the_address(reach, api_key, token):
    with pytest.raises(BlockError, match="no token"):
        await run_block(SendTelegramMessage, TELEGRAM, api_key("telegram", api_key=token))
    assert not reach.requests


def servers(reach, *names):
    reach.on(
        "GET", "/users/@me/guilds", (200, [{"id": str(number), "name": name} for number, name in enumerate(names)])
    )
    for number, _ in enumerate(names):
        channels = [
            {"id": f"{number}1", "name": "news", "type": 0},
            {"id": f"{number}2", "name": "news", "type": 2},
            {"id": f"{number}3", "name": f"only{number}", "type": 5},
        ]
        reach.on("GET", f"/guilds/{number}/channels", (200, channels))


async def test_a_discord_message_by_id_calls_nobody(reach, api_key):
    reach.on("POST", f"/channels/{CHANNEL}/messages", (200, {"id": "9"}))
    found = await run_block(SendDiscordMessage, DISCORD, api_key("discord"))
    assert found == {"status": ["Message sent"], "message_id": ["9"], "channel_id": [CHANNEL]}
    [asked] = reach.requests
    assert asked.headers["authorization"] == "Bot a-good-key"
    assert asked.json() == {"content": "Hello", "allowed_mentions": {"parse": []}}


async def test_a_discord_channel_is_found_by_its_name(reach, api_key):
    servers(reach, "one", "two")
    reach.on("POST", "/channels/13/messages", (200, {"id": "9"}))
    reach.on("POST", "/channels/11/messages", (200, {"id": "8"}))
    found = await run_block(SendDiscordMessage, {**DISCORD, "channel_name": "#only1"}, api_key("discord"))
    assert found["channel_id"] == ["13"]
    data = {**DISCORD, "channel_name": "news", "server_name": "two"}
    assert (await run_block(SendDiscordMessage, data, api_key("discord")))["channel_id"] == ["11"]
    with pytest.raises(BlockError, match=r"Several channels.*one, two"):
        await run_block(SendDiscordMessage, {**DISCORD, "channel_name": "news"}, api_key("discord"))
    with pytest.raises(BlockError, match="no such channel"):
        await run_block(SendDiscordMessage, {**DISCORD, "channel_name": "else"}, api_key("discord"))


async def test_a_long_discord_message_goes_in_parts(reach, api_key):
    reach.on("POST", f"/channels/{CHANNEL}/messages", (200, {"id": "9"}))
    await run_block(SendDiscordMessage, {**DISCORD, "message_content": "x" * 4500}, api_key("discord"))
    assert [len(asked.json()["content"]) for asked in reach.requests] == [2000, 2000, 500]
    with pytest.raises(BlockError, match="too long"):
        await run_block(SendDiscordMessage, {**DISCORD, "message_content": "x" * 20_001}, api_key("discord"))


async def test_the_newest_message_of_a_person_is_read(reach, api_key):
    servers(reach, "one", "two")
    person = {"id": "5", "username": "ada"}
    reach.on("GET", "/channels/01/messages", (403, {"message": "no"}))
    for place in ("1", "3", "11", "13"):
        reach.on("GET", f"/channels/{place}/messages", (200, []))
    reach.on("GET", "/channels/3/messages", (200, [{"id": "100", "content": "old", "author": person}]))
    newer = [
        {"id": "300", "content": "beep", "author": {"id": "6", "username": "r2", "bot": True}},
        {"id": "200", "content": "new", "author": person},
    ]
    reach.on("GET", "/channels/13/messages", (200, newer))
    reach.on("GET", "/channels/1/messages", (403, {"message": "no"}))
    found = await run_block(ReadDiscordMessages, CREDENTIALS, api_key("discord"))
    assert found == {
        "message_content": ["new"],
        "message_id": ["200"],
        "channel_id": ["13"],
        "channel_name": ["only1"],
        "user_id": ["5"],
        "username": ["ada"],
    }


@pytest.mark.parametrize(
    ("block", "data", "provider", "answers"),
    [
        (
            SendTelegramMessage,
            TELEGRAM,
            "telegram",
            {f"POST /bot{BOT_TOKEN}/sendMessage": {"result": {"message_id": {}}}},
        ),
        (GithubComment, {**ISSUE, "comment": "C"}, "github", {"POST /repos/octo/cat/issues/7/comments": {"id": "x"}}),
        (
            GithubMakeIssue,
            {**REPO, "title": "T", "body": "B"},
            "github",
            {"POST /repos/octo/cat/issues": {"number": []}},
        ),
        (ReadDiscordMessages, CREDENTIALS, "discord", {"GET /channels/1/messages": [{"id": "2", "author": "ada"}]}),
        (ReadDiscordMessages, CREDENTIALS, "discord", {"GET /channels/1/messages": [{"id": None, "author": {}}]}),
        (ReadDiscordMessages, CREDENTIALS, "discord", {"GET /guilds/0/channels": [{"id": "1", "type": {}}]}),
    ],
)
async def test_answers_of_another_shape_are_told(reach, api_key, block, data, provider, answers):
    servers(reach, "one")
    reach.on("GET", "/guilds/0/channels", (200, [{"id": "1", "name": "news", "type": 0}]))
    for place, answer in answers.items():
        reach.on(*place.split(" "), (200, answer))
    with pytest.raises(BlockError, match=r"can't be understood|sees no messages"):
        await run_block(block, data, api_key(provider, api_key=BOT_TOKEN))


async def test_a_bot_without_messages_says_so(reach, api_key):
    reach.on("GET", "/users/@me/guilds", (200, []))
    with pytest.raises(BlockError, match="sees no messages"):
        await run_block(ReadDiscordMessages, CREDENTIALS, api_key("discord"))


# GitHub -----------------------------------------------------------------------------------------------------------

API = "/repos/octo/cat"


@pytest.mark.parametrize(
    ("block", "data", "place", "sent", "answer", "found"),
    [
        (
            GithubMakeIssue,
            {**REPO, "title": "T", "body": "B"},
            f"POST {API}/issues",
            {"title": "T", "body": "B"},
            {"number": 7, "html_url": "u"},
            {"number": [7], "url": ["u"]},
        ),
        (
            GithubReadIssue,
            ISSUE,
            f"GET {API}/issues/7",
            None,
            {"title": "T", "body": None, "user": {"login": "ada"}},
            {"title": ["T"], "body": [""], "user": ["ada"]},
        ),
        (
            GithubListIssues,
            REPO,
            f"GET {API}/issues",
            None,
            [{"title": "A", "html_url": "a"}, {"title": "P", "html_url": "p", "pull_request": {}}],
            {"issue": [{"title": "A", "url": "a"}], "issues": [[{"title": "A", "url": "a"}]]},
        ),
        (
            GithubComment,
            {**ISSUE, "comment": "C"},
            f"POST {API}/issues/7/comments",
            {"body": "C"},
            {"id": 3, "html_url": "u"},
            {"id": [3], "url": ["u"]},
        ),
        (
            GithubAddLabel,
            {**ISSUE, "label": "bug"},
            f"POST {API}/issues/7/labels",
            {"labels": ["bug"]},
            [],
            {"status": ["Label added successfully"]},
        ),
        (
            GithubListPullRequests,
            REPO,
            f"GET {API}/pulls",
            None,
            [{"title": "P", "html_url": "p"}],
            {"pull_request": [{"title": "P", "url": "p"}], "pull_requests": [[{"title": "P", "url": "p"}]]},
        ),
        (
            GithubMakePullRequest,
            {**REPO, "title": "T", "body": "B", "head": "x", "base": "main"},
            f"POST {API}/pulls",
            {"title": "T", "body": "B", "head": "x", "base": "main"},
            {"number": 8, "html_url": "u"},
            {"number": [8], "url": ["u"]},
        ),
        (
            GithubReadFile,
            {**REPO, "file_path": "a b/c.txt"},
            f"GET {API}/contents/a%20b/c.txt",
            None,
            {"type": "file", "content": base64.b64encode(b"text").decode()},
            {"text_content": ["text"], "raw_content": ["dGV4dA=="], "size": [4]},
        ),
        (
            GithubCreateFile,
            {**REPO, "file_path": "a.txt", "content": "x", "branch": "dev"},
            f"PUT {API}/contents/a.txt",
            {"message": "Create new file", "content": "eA==", "branch": "dev"},
            {"content": {"html_url": "u"}, "commit": {"sha": "s"}},
            {"url": ["u"], "sha": ["s"]},
        ),
    ],
)
async def test_github(reach, api_key, block, data, place, sent, answer, found):
    method, path = place.split(" ")
    reach.on(method, path, (200, answer))
    assert await run_block(block, data, api_key("github")) == found
    [asked] = reach.requests
    assert asked.headers["authorization"] == "Bearer a-good-key"
    assert (asked.json() if asked.body else None) == sent


async def test_issues_are_looked_for_behind_pull_requests(reach, api_key):
    def page(request):
        number = int(request.query["page"])
        if number < 3:
            return 200, [{"title": "P", "html_url": "p", "pull_request": {}}] * 30
        return 200, [{"title": f"I{place}", "html_url": "i"} for place in range(30)]

    reach.on("GET", f"{API}/issues", page)
    found = await run_block(GithubListIssues, {**REPO, "limit": 2, "labels": ["a", "b"]}, api_key("github"))
    assert found["issue"] == [{"title": "I0", "url": "i"}, {"title": "I1", "url": "i"}]
    assert [asked.query["page"] for asked in reach.requests] == ["1", "2", "3"]
    assert (reach.requests[0].query["labels"], reach.requests[0].query["per_page"]) == ("a,b", "30")
    reach.requests.clear()
    reach.on("GET", f"{API}/issues", (200, [{"title": "P", "html_url": "p", "pull_request": {}}] * 30))
    assert await run_block(GithubListIssues, REPO, api_key("github")) == {"issues": [[]]}
    assert len(reach.requests) == 10


async def test_a_file_of_more_than_a_megabyte_is_asked_for_by_itself(reach, api_key):
    def answer(request):
        if request.headers["accept"].endswith("raw+json"):
            return 200, b"x" * 2_000_000
        return 200, {"type": "file", "encoding": "none", "content": "", "size": 2_000_000}

    reach.on("GET", f"{API}/contents/large", answer)
    found = await run_block(GithubReadFile, {**REPO, "file_path": "large", "branch": "dev"}, api_key("github"))
    assert (found["size"], len(found["text_content"][0])) == ([2_000_000], 2_000_000)
    assert [asked.query for asked in reach.requests] == [{"ref": "dev"}] * 2


async def test_a_pull_request_is_read_with_its_changes(reach, api_key):
    def answer(request):
        is_diff = request.headers["accept"].endswith("diff")
        return 200, b"--- a" if is_diff else {"title": "T", "body": "B", "user": {"login": "ada"}}

    reach.on("GET", f"{API}/pulls/7", answer)
    data = {**CREDENTIALS, "pr_url": "https://github.com/octo/cat/pull/7/files"}
    short = await run_block(GithubReadPullRequest, data, api_key("github"))
    assert short == {"title": ["T"], "body": ["B"], "author": ["ada"]}
    whole = await run_block(GithubReadPullRequest, {**data, "include_pr_changes": True}, api_key("github"))
    assert whole["changes"] == ["--- a"]


async def test_a_file_is_changed_from_what_it_was(reach, api_key):
    reach.on("GET", f"{API}/contents/a.txt", (200, {"type": "file", "sha": "old", "content": ""}))
    reach.on("PUT", f"{API}/contents/a.txt", (200, {"content": {"html_url": "u"}, "commit": {"sha": "new"}}))
    data = {**REPO, "file_path": "a.txt", "content": "y"}
    assert (await run_block(GithubUpdateFile, data, api_key("github")))["sha"] == ["new"]
    assert reach.requests[-1].json()["sha"] == "old"
    reach.on("PUT", f"{API}/contents/a.txt", (409, {"message": "a.txt does not match old"}))
    with pytest.raises(BlockError, match="does not match"):
        await run_block(GithubUpdateFile, data, api_key("github"))


async def test_a_binary_file_has_no_text_and_a_folder_is_no_file(reach, api_key):
    reach.on("GET", f"{API}/contents/x", (200, {"type": "file", "content": base64.b64encode(b"\xff").decode()}))
    found = await run_block(GithubReadFile, {**REPO, "file_path": "x"}, api_key("github"))
    assert set(found) == {"raw_content", "size"}
    reach.on("GET", f"{API}/contents/x", (200, [{"name": "y"}]))
    with pytest.raises(BlockError, match="no file"):
        await run_block(GithubReadFile, {**REPO, "file_path": "x"}, api_key("github"))


@pytest.mark.parametrize(
    "url", ["", "octo", "https://gitlab.com/octo/cat", "octo/..", "octo/cat/issues", "a b/c", "octo/cat?x"]
)
async def test_what_is_no_repository_is_refused(reach, api_key, url):
    with pytest.raises(BlockError, match="no GitHub repository"):
        await run_block(GithubListPullRequests, {**REPO, "repo_url": url}, api_key("github"))
    assert not reach.requests


@pytest.mark.parametrize(
    ("block", "data"),
    [
        (GithubMakeIssue, {"repo_url": "octo", "title": "T", "body": "B"}),
        (GithubListIssues, {"repo_url": "https://gitlab.com/octo/cat"}),
        (GithubComment, {"issue_url": "octo/cat", "comment": "C"}),
        (GithubAddLabel, {"issue_url": "https://github.com/octo/cat/issues/x", "label": "bug"}),
        (GithubMakePullRequest, {"repo_url": "octo/..", "title": "T", "body": "B", "head": "x", "base": "main"}),
        (GithubReadPullRequest, {"pr_url": "https://github.com/octo/cat"}),
        (GithubReadFile, {"repo_url": "octo", "file_path": "a.txt"}),
        (GithubCreateFile, {"repo_url": "octo/cat", "file_path": "../../user", "content": "x"}),
        (GithubUpdateFile, {"repo_url": "octo/cat", "file_path": "a/../b", "content": "x"}),
    ],
)
async def test_each_github_block_refuses_an_address_that_is_none(reach, api_key, block, data):
    with pytest.raises(BlockError, match=r"no GitHub repository|no address of a GitHub issue|path can't be used"):
        await run_block(block, {**CREDENTIALS, **data}, api_key("github"))
    assert not reach.requests


@pytest.mark.parametrize("url", ["octo/cat", "https://github.com/octo/cat", "https://github.com/octo/cat/issues/x"])
async def test_what_is_no_issue_is_refused(reach, api_key, url):
    with pytest.raises(BlockError, match="no address of a GitHub issue"):
        await run_block(GithubReadIssue, {**ISSUE, "issue_url": url}, api_key("github"))


@pytest.mark.parametrize("path", ["../../user", "a//b", "..", "a/./b"])
async def test_a_path_stays_in_its_repository(reach, api_key, path):
    with pytest.raises(BlockError, match="path can't be used"):
        await run_block(GithubReadFile, {**REPO, "file_path": path}, api_key("github"))
    assert not reach.requests


@pytest.mark.parametrize("url", ["octo/cat", "https://github.com/octo/cat.git", "github.com/octo/cat/"])
def test_spellings_of_a_repository(url):
    assert github_calls.repository(url) == API


# Web requests with a credential -----------------------------------------------------------------------------------


def web_block(reach):
    return SendAuthenticatedWebRequest(allow=(reach.place,))


def web_secret(host):
    held = Secret("http", "host_scoped", {"headers": {"X-Key": "the-secret"}}, host)
    return context_for(secrets={"credentials": held})


async def test_the_credential_goes_with_the_request(reach):
    reach.on("POST", "/x", (200, {"a": 1}))
    data = {**CREDENTIALS, "url": f"{reach.url}/x", "body": {"b": 2}, "headers": {"X-Key": "mine", "X-Other": "o"}}
    found = await run_block(web_block(reach), data, web_secret(reach.place))
    assert found == {"response": [{"a": 1}]}
    [asked] = reach.requests
    assert (asked.headers["x-key"], asked.headers["x-other"]) == ("the-secret", "o")


async def test_the_credential_goes_nowhere_else(reach):
    for host in ("api.example.com", reach.place.replace("127.0.0.1", "127.0.0.2"), "", "127.0.0.1"):
        with pytest.raises(BlockError, match="isn't meant for the host"):
            await run_block(web_block(reach), {**CREDENTIALS, "url": reach.url}, web_secret(host))
    assert not reach.requests


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_credential_does_not_follow_redirects(reach, status):
    reach.on("POST", "/x", (status, {}, {"Location": f"{reach.url}/y"}))
    reach.on("GET", "/y", (200, {}))
    reach.on("POST", "/y", (200, {}))
    with pytest.raises(BlockError, match="redirects"):
        await run_block(web_block(reach), {**CREDENTIALS, "url": f"{reach.url}/x"}, web_secret(reach.place))
    assert [asked.path for asked in reach.requests] == ["/x"]


async def test_inner_addresses_are_refused_with_a_credential_too(reach):
    with pytest.raises(BlockError, match="can't be asked"):
        await run_block(SendAuthenticatedWebRequest, {**CREDENTIALS, "url": reach.url}, web_secret(reach.place))
    assert not reach.requests


@pytest.mark.parametrize(("status", "pin"), [(404, "client_error"), (503, "server_error")])
async def test_errors_have_pins_of_their_own(reach, status, pin):
    reach.on("POST", "/x", (status, {"m": 1}))
    data = {**CREDENTIALS, "url": f"{reach.url}/x"}
    assert await run_block(web_block(reach), data, web_secret(reach.place)) == {pin: [{"m": 1}]}
