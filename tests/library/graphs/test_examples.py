"""The example agents: each imports and could run as it is, with the product's own blocks; people get them once."""

from __future__ import annotations

import json

import pytest
from allauth.account.signals import user_signed_up

from apps.accounts.models import User
from apps.library.graphs import importer
from apps.library.graphs.examples import example_files, load_examples
from apps.library.graphs.exporter import export_graph
from apps.library.graphs.secrecy import strip
from apps.library.graphs.services import delete_agent, import_agent, problems_of
from apps.library.models import Execution, LibraryAgent
from config.supervision.account import ensure_demo_account

pytestmark = pytest.mark.django_db
NAMES = [
    "compare-two-texts",
    "csv-report",
    "email-triage",
    "meeting-notes-to-tasks",
    "post-with-approval",
    "quiz-maker",
    "rss-digest",
    "savings-over-years",
    "summarise-text",
    "web-page-to-bullet-points",
]


@pytest.fixture
def blocks():
    """The product's own blocks, none other."""


def examples_of(person):
    mine = LibraryAgent.objects.filter(user_id=person.pk, settings__has_key="example")
    return sorted(mine.values_list("settings__example", flat=True))


def test_there_are_ten():
    assert list(example_files()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_imports_and_can_run_as_it_is(owner, name):
    imported = import_agent(user_id=owner.user.pk, file=example_files()[name])
    assert imported.told == []
    for agent in (imported.agent, *imported.sub_agents):
        assert problems_of(user_id=owner.user.pk, graph=agent.graph, for_run=True) == []
        assert agent.graph.description
        facts = export_graph(agent.graph)
        assert facts["credentials_input_schema"]["required"] == []
        assert facts["input_schema"]["properties"]
        assert all(field.get("description") for field in facts["input_schema"]["properties"].values())


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_a_file_that_anybody_may_have(name):
    raw = example_files()[name]
    graph = importer.shape.read(importer.load(raw))
    assert strip(graph) == []
    ids = [each["id"] for part in ("nodes", "links") for each in json.loads(raw)[part]]
    assert len(ids) == len(set(ids))


def test_a_person_gets_the_examples_once(owner, teammate):
    assert len(load_examples(owner.user.pk)) == 10
    assert load_examples(owner.user.pk) == []
    assert examples_of(owner.user) == NAMES
    assert examples_of(teammate.user) == []
    assert not Execution.objects.exists()


def test_a_broken_example_keeps_nobody_out(owner, monkeypatch):
    good = example_files()["summarise-text"]
    monkeypatch.setattr("apps.library.graphs.examples.example_files", lambda: {"bad": b"{", "good": good})
    assert [agent.settings for agent in load_examples(owner.user.pk)] == [{"example": "good"}]


def test_who_signs_up_finds_examples(owner):
    user_signed_up.send(sender=User, request=None, user=owner.user)
    assert examples_of(owner.user) == NAMES


def test_signing_up_in_a_browser_brings_examples(client, settings, db):
    settings.SIGN_UP_OPEN = True
    form = {"email": "new@example.com", "password1": "correct horse battery", "password2": "correct horse battery"}
    assert client.post("/accounts/signup/", form).status_code == 302
    assert examples_of(User.objects.get(email="new@example.com")) == NAMES


def test_the_demo_account_has_them_and_what_is_deleted_stays_deleted(tmp_path):
    ensure_demo_account(tmp_path)
    user = User.objects.get()
    assert examples_of(user) == NAMES
    delete_agent(user_id=user.pk, agent_id=LibraryAgent.objects.get(settings__example="rss-digest").pk)
    ensure_demo_account(tmp_path)
    assert examples_of(user) == [name for name in NAMES if name != "rss-digest"]
