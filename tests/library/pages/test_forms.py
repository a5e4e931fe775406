"""The forms of the library: what is entered is checked, kept and stored."""

from __future__ import annotations

import html
import json
import re
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from apps.billing.services import grant
from apps.library.graphs import known
from apps.library.graphs.examples import example_files
from apps.library.models import Credential, Execution, LibraryAgent, Preset, Review, Schedule
from apps.library.models.executions import Status
from apps.library.pages.costs import Estimate
from apps.library.pages.keys import key_title
from tests.library.pages import world

GOOD = {
    "input-0": "a few words",
    "input-1": "long\r\ntext",
    "input-2": "42",
    "input-3": "2026-12-31",
    "input-4": "13:45",
    "input-5": "Red",
    "input-6": "on",
    "input-7-0": ["Ada", ""],
    "input-7-1": ["36", ""],
    "input-8": "https://example.com/file.txt",
    "input-9": "as it was",
}
READ = {
    "short": "a few words",
    "long": "long\ntext",
    "number": 42,
    "date": "2026-12-31",
    "time": "13:45:00",
    "choice": "Red",
    "switch": True,
    "table": [{"Name": "Ada", "Age": "36"}],
    "file": "https://example.com/file.txt",
    "extra": "as it was",
}


@pytest.fixture
def everything(owner) -> LibraryAgent:
    """An agent with an input of each kind."""
    return world.add_agent(owner, world.every_input_file())


def form_of(agent: LibraryAgent) -> str:
    """Where the agent's form is."""
    return f"/library/agents/{agent.pk}/run"


def test_a_form_starts_a_run(browser, everything):
    answer = browser.post(form_of(everything), {**GOOD, "action": "run"})
    run = Execution.objects.get()
    assert answer.headers["Location"] == f"/library/executions/{run.pk}/"
    assert run.inputs == READ
    assert (run.agent_id, run.trigger, run.is_dry_run) == (everything.pk, "manual", False)


def test_a_dry_run_is_one(browser, everything):
    browser.post(form_of(everything), {**GOOD, "dry_run": "on", "action": "run"})
    assert Execution.objects.get().is_dry_run


def words_of(html: str) -> str:
    """A page as it is read."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_who_has_no_credits_is_told_what_to_do(owner, browser):
    agent = world.add_agent(owner, json.loads(example_files()["summarise-text"]))
    form = words_of(browser.get(form_of(agent)).content.decode())
    assert "Model key optional" in form
    assert "Estimated cost: $0.00 and, counted while it runs, what the services themselves charge." in form
    assert "Your balance is $0.00. That isn’t enough to start it: get credits from" in form

    sent = {"input-0": "A long text.", "input-1": "concise", "action": "run"}
    refused = browser.post(form_of(agent), sent)
    assert refused.status_code == 400
    text = html.unescape(words_of(refused.content.decode()))
    assert "This agent costs credits, and you have too few: ask whoever runs this installation" in text
    assert not Execution.objects.exists()
    assert browser.post(form_of(agent), {**sent, "dry_run": "on"}).status_code == 302


def test_a_price_ends_with_a_full_stop(owner, browser, monkeypatch):
    agent = world.add_agent(owner)
    monkeypatch.setattr("apps.library.views.run.estimate", lambda data: Estimate(50_000, ""))
    grant(user_id=owner.user.pk, amount_cents=100, key="gift")
    form = words_of(browser.get(form_of(agent)).content.decode())
    assert "Estimated cost: $0.05. Your balance is $1.00. Dry run" in form


@pytest.mark.parametrize(
    ("providers", "title"),
    [
        (("openai", "anthropic", "groq"), "Model key"),
        (("openai",), "Openai credentials"),
        (("github",), "GitHub credentials"),
        (("slack", "my_own"), "Slack or My Own credentials"),
        ((), "Service credentials"),
    ],
)
def test_credentials_have_a_name(providers, title):
    assert key_title(providers) == title


def test_what_agents_below_need_is_asked_for(owner, browser):
    mails = world.node(known.SEND_EMAIL, to_email="a@example.com", subject="s", body="b")
    below = {**world.file_of("Below", [mails], []), "id": str(uuid4()), "version": 1}
    schemas = {"input_schema": {"type": "object"}, "output_schema": {"type": "object"}}
    runs = world.node(known.AGENT_EXECUTOR, graph_id=below["id"], graph_version=1, **schemas)
    agent = world.add_agent(owner, {**world.file_of("Above", [runs], []), "sub_graphs": [below]})

    form = browser.get(form_of(agent)).context["form"]

    assert [(field.name, field.is_required) for field in form.credentials] == [("smtp_user_password_credentials", True)]
    told = owner.client.get(f"/api/library/agents/{agent.pk}").json()
    assert told["credentials_input_schema"]["required"] == ["smtp_user_password_credentials"]
    assert all(problem.get("graph", "") == "" for problem in told["problems"])


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("input-0", " ", "This is needed."),
        ("input-2", "many", "This isn't a number."),
        ("input-2", "1.5", "This must be a whole number."),
        ("input-2", "1e400", "This number is too large."),
        ("input-3", "tomorrow", "This isn't a date like 2026-12-31."),
        ("input-4", "25:00", "This isn't a time like 13:45."),
        ("input-5", "Blue", "Choose one of these."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(browser, everything, field, value, sentence):
    answer = browser.post(form_of(everything), {**GOOD, field: value, "action": "run"})
    assert answer.status_code == 400
    assert not Execution.objects.exists()
    faults = [(name, text) for name, _, text in answer.context["form"].faults]
    assert [(name, text.replace("&#x27;", "'")) for name, text in faults] == [(field, sentence)]
    kept = {one.html_name: one for one in answer.context["form"].fields}
    for name, text in {**GOOD, field: value}.items():
        if name in kept and name != "input-6":
            assert kept[name].text == text
    assert kept["input-6"].is_on
    assert kept["input-7"].rows[0] == ["Ada", "36"]


def test_a_file_goes_into_the_workspace(browser, owner, everything, settings, tmp_path):
    settings.MEDIA_ROOT = str(tmp_path)
    file = SimpleUploadedFile("note.txt", b"hello", content_type="text/plain")
    browser.post(form_of(everything), {**GOOD, "input-8": file, "action": "run"})
    stored = owner.user.files.get()
    assert Execution.objects.get().inputs["file"] == stored.uri


def test_presets_are_saved_used_and_deleted(browser, everything):
    nameless = browser.post(form_of(everything), {**GOOD, "action": "preset"})
    assert nameless.status_code == 400
    browser.post(form_of(everything), {**GOOD, "action": "preset", "preset_name": "Mine"})
    preset = Preset.objects.get()
    assert (preset.name, preset.inputs) == ("Mine", READ)
    shown = browser.get(f"{form_of(everything)}?preset={preset.pk}").context["form"]
    assert shown.fields[2].text == "42"
    browser.post(f"/library/presets/{preset.pk}/delete")
    assert not Preset.objects.exists()


def test_a_run_is_stopped(owner, browser):
    run = world.add_run(world.add_agent(owner), Status.QUEUED)
    browser.post(f"/library/executions/{run.pk}/stop")
    run.refresh_from_db()
    assert run.status == Status.TERMINATED
    again = browser.post(f"/library/executions/{run.pk}/stop", follow=True)
    assert "The run had ended already." in again.content.decode()


def test_runs_are_filtered(owner, browser):
    agent, other = world.add_agent(owner), world.add_agent(owner, world.echo_file("Other"))
    good, bad = world.add_run(agent), world.add_run(agent, Status.FAILED, trigger="schedule")
    world.add_run(other)

    def shown(query: str) -> int:
        return len(browser.get(f"/library/executions/?{query}").context["runs"])

    assert (shown(""), shown(f"agent={agent.pk}"), shown("status=failed"), shown("trigger=schedule")) == (3, 2, 1, 1)
    assert shown("status=failed&trigger=manual") == 0
    assert {good.pk, bad.pk} < {run.pk for run in browser.get("/library/executions/").context["runs"]}


def test_settings_are_saved(owner, browser):
    agent = world.add_agent(owner)
    folder = world.add_folder(owner)
    path = f"/library/agents/{agent.pk}/settings"
    browser.post(path, {"sensitive_safe_mode": "on", "run_cap": "2.50", "daily_cap": "", "folder": str(folder.pk)})
    agent.refresh_from_db()
    assert agent.settings["human_in_the_loop_safe_mode"] is False
    assert agent.settings["sensitive_action_safe_mode"] is True
    assert (agent.run_cap_cents, agent.daily_cap_cents, agent.folder_id) == (250, None, folder.pk)
    for bad in ("x", "-1", "0.001", "NaN", "1e99"):
        assert "Nothing was changed" in browser.post(path, {"run_cap": bad}, follow=True).content.decode()
    agent.refresh_from_db()
    assert agent.run_cap_cents == 250


def test_agents_are_imported_and_exported(owner, browser, their_browser):
    file = SimpleUploadedFile("echo.json", json.dumps(world.echo_file("Imported")).encode())
    answer = browser.post("/library/import", {"file": file}, follow=True)
    assert "is in your library" in answer.content.decode()
    agent = LibraryAgent.objects.get(user=owner.user)
    exported = browser.get(f"/library/agents/{agent.pk}/export")
    assert exported.headers["Content-Disposition"] == 'attachment; filename="imported.json"'
    again = SimpleUploadedFile("again.json", exported.content)
    assert "is in your library" in their_browser.post("/library/import", {"file": again}, follow=True).content.decode()
    broken = browser.post("/library/import", {"file": SimpleUploadedFile("x.json", b"{nonsense")})
    assert broken.status_code == 400
    assert "The file isn&#x27;t JSON" in broken.content.decode()
    assert "Choose the file" in browser.post("/library/import", follow=True).content.decode()


def test_schedules_are_made_paused_and_deleted(owner, browser):
    agent = world.add_agent(owner)
    preset = world.add_preset(agent)
    form = {"agent": agent.pk, "preset": preset.pk, "name": "Daily", "rhythm": "weekly", "at": "08:30", "day": "1"}
    assert browser.post("/library/schedules/", form).status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.cron, schedule.inputs) == ("30 8 * * 1", {"word": "hi"})
    text = browser.get("/library/schedules/").content.decode()
    assert "At 08:30, only on Monday" in text
    browser.post(f"/library/schedules/{schedule.pk}/switch", {"is_enabled": "0"})
    schedule.refresh_from_db()
    assert not schedule.is_enabled
    for change in (
        {"name": ""},
        {"agent": ""},
        {"rhythm": "cron", "cron": "nonsense"},
        {"rhythm": "once"},
        {"at": "9"},
    ):
        refused = browser.post("/library/schedules/", {**form, **change})
        assert refused.status_code == 400, change
        assert refused.context["form"].errors
    browser.post(f"/library/schedules/{schedule.pk}/delete")
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("sent", "status", "data"),
    [
        ({"decision": "approve", "data": '{"a": 1}'}, "APPROVED", {"a": 1}),
        ({"decision": "approve", "data": '{"a": 2}', "message": "better"}, "APPROVED", {"a": 2}),
        ({"decision": "approve", "approve_all": "on", "data": '{\r\n  "a": 1\r\n}'}, "APPROVED", {"a": 1}),
        ({"decision": "reject", "data": '{"a": 2}', "message": "no"}, "REJECTED", None),
        ({"decision": "approve", "data": "{"}, "WAITING", None),
        ({"decision": "approve", "data": '{"a": "\\u0000"}'}, "WAITING", None),
        ({"decision": "approve", "data": '{"a": ["\\ud800"]}'}, "WAITING", None),
        ({"decision": "approve", "data": '{"a": 1e999}'}, "WAITING", None),
    ],
)
def test_reviews_are_decided(owner, browser, sent, status, data):
    review = world.add_review(world.add_run(world.add_agent(owner), Status.REVIEW), {"a": 1})
    answer = browser.post(f"/library/reviews/{review.pk}/decide", sent)
    decided = Review.objects.get(pk=review.pk)
    assert (decided.status, decided.reviewed_data) == (status, data)
    if status == "WAITING":
        assert answer.status_code == 400
        assert answer.context["review"].typed == sent["data"]
    else:
        assert decided.message == sent.get("message", "")
        late = browser.post(f"/library/reviews/{review.pk}/decide", sent, follow=True)
        assert late.status_code == 200
        assert Review.objects.get(pk=review.pk).status == status


@pytest.mark.parametrize(
    ("sent", "host"),
    [
        ({"type": "api_key", "api_key": "sk-very-secret"}, ""),
        ({"type": "user_password", "username": "ada", "password": "very-secret"}, ""),
        ({"type": "host_scoped", "host": "api.example.com", "headers": "X-Key: very-secret"}, "api.example.com"),
    ],
)
def test_credentials_are_stored_and_never_shown(owner, browser, sent, host):
    answer = browser.post("/library/credentials/", {"provider": "openai", "title": "Mine", **sent}, follow=True)
    stored = Credential.objects.get()
    assert (stored.type, stored.host, stored.user_id) == (sent["type"], host, owner.user.pk)
    assert "Mine" in answer.content.decode()
    assert "very-secret" not in answer.content.decode()
    browser.post(f"/library/credentials/{stored.pk}/delete")
    assert not Credential.objects.exists()


def test_a_refused_credential_does_not_send_its_secret_back(browser):
    refused = browser.post("/library/credentials/", {"type": "api_key", "provider": "", "api_key": "very-secret"})
    assert refused.status_code == 400
    assert "very-secret" not in refused.content.decode()


def test_a_credential_that_agents_use_is_deleted_on_a_second_word(owner, browser):
    browser.post("/library/credentials/", {"type": "api_key", "provider": "openai", "api_key": "k"})
    stored = Credential.objects.get()
    world.add_preset(world.add_agent(owner), credential_inputs={"openai_api_key_credentials": str(stored.pk)})
    path = f"/library/credentials/{stored.pk}/delete"
    first = browser.post(path)
    assert (first.status_code, "Echo" in first.content.decode()) == (409, True)
    browser.post(path, {"force": "1"})
    assert not Credential.objects.exists()
