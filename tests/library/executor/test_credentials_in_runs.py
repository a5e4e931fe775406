"""Runs with people's keys: which one a node gets, and that nothing but its block ever sees what it holds."""

from __future__ import annotations

import io
import json
import logging
import uuid
from typing import Any

from django.apps import apps

from apps.billing.services import grant
from apps.library.blocks import ask_model
from apps.library.blocks.orchestrator import Orchestrator
from apps.library.credentials.services import create_credential
from apps.library.executor.events import log_key
from apps.library.executor.start import start_execution
from apps.library.models import Credential, NodeExecution
from apps.runtime.redis import sync_client
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, wait_for

SECRET = "sk-the-secret-of-this-test"
INPUT = "acme_api_key_credentials"


def store(person: Any, provider: str = "acme", secret: str = SECRET) -> Credential:
    return create_credential(
        user_id=person.user.pk, provider=provider, type="api_key", title="Mine", values={"api_key": secret}
    )


def caller(person: Any, *, metadata: dict[str, Any] | None = None, **values: Any) -> Any:
    return make_agent(
        person,
        {"call": (b.KEYED, {"text": "Hi", **values}), "said": (b.GIVE, {"name": "said"})},
        [("call.answer", "said.value")],
        metadata={"call": metadata or {}},
    )


def run_of(agent: Any, **chosen: Any) -> Any:
    named = {name: str(row.pk) for name, row in chosen.items()}
    run = start_execution(user_id=agent.user_id, graph=agent.graph, inputs={}, agent=agent, credential_inputs=named)
    return wait_for(run.pk)


def failure(run: Any) -> str:
    return NodeExecution.objects.get(execution=run, status="FAILED").error


def test_a_node_gets_the_key_that_it_or_the_run_names(owner, runs):
    saved, chosen = store(owner, secret="saved"), store(owner, secret="chosen")
    agent = caller(owner, credentials={"id": str(saved.pk), "provider": "acme", "type": "api_key"})

    assert run_of(agent).status == "COMPLETED"
    assert b.ASKED["secret"] == {"api_key": "saved"}
    run_of(agent, **{INPUT: chosen})
    assert b.ASKED["secret"] == {"api_key": "chosen"}
    chosen.refresh_from_db()
    assert chosen.last_used_at is not None


def test_a_key_that_cant_be_used_fails_its_node_in_words(owner, teammate, runs):
    agent = caller(owner)
    for wrong, words in (
        (store(teammate), "isn't there any more"),
        (store(owner, provider="other"), "of another service"),
        (Credential(pk=uuid.uuid4()), "isn't there any more"),
    ):
        assert words in failure(run_of(agent, **{INPUT: wrong}))
    spoiled = store(owner)
    Credential.objects.filter(pk=spoiled.pk).update(secret=b"spoiled")
    assert "can't be decrypted" in failure(run_of(agent, **{INPUT: spoiled}))
    assert "secret" not in b.ASKED


def test_without_a_key_a_run_doesnt_begin_unless_its_node_can_be_left_out(owner, runs):
    answer = owner.client.post(f"/api/library/agents/{caller(owner).pk}/run", {"inputs": {}}, format="json")
    assert answer.status_code == 400
    assert answer.json()["problems"] == {INPUT: "It needs a credential for acme."}

    run = run_of(caller(owner, metadata={"credentials_optional": True}))
    assert run.status == "COMPLETED"
    assert "secret" not in b.ASKED


def test_nothing_but_the_block_sees_what_a_key_holds(owner, runs, model, settings, monkeypatch):
    """Also not the model whose tool the block is."""
    for name in ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        setattr(settings, name, "")
    settings.DEMO_MODEL_URL = model.url
    monkeypatch.setattr(ask_model, "PAUSES", ())
    model.clear()
    grant(user_id=owner.user.pk, amount_cents=1000, key=uuid.uuid4().hex)
    mine = store(owner)
    used = [{"tool": "call", "arguments": {"text": "Hi"}}]
    marker = model.script("keyed", used, [{"text": "Done."}])
    agent = make_agent(
        owner,
        {
            "think": (Orchestrator.id, {"prompt": f"Do it {marker}", "agent_mode_max_iterations": -1}),
            "call": (b.KEYED, {"credentials": {"id": str(mine.pk), "provider": "acme", "type": "api_key"}}),
            "said": (b.GIVE, {"name": "said"}),
            "talk": (b.GIVE, {"name": "talk"}),
        },
        [("think.tools", "call.text"), ("think.finished", "said.value"), ("think.conversations", "talk.value")],
        metadata={"call": {"customized_name": "call"}},
    )
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    logging.getLogger().addHandler(handler)
    try:
        run = run_of(agent)
        places = (
            f"executions/{run.pk}",
            "executions",
            f"agents/{agent.pk}",
            f"agents/{agent.pk}/export",
            "credentials",
        )
        answers = [owner.client.get(f"/api/library/{place}") for place in places]
    finally:
        logging.getLogger().removeHandler(handler)

    assert run.status == "COMPLETED"
    assert b.ASKED["secret"] == {"api_key": SECRET}
    asked = json.dumps(model.requests("keyed"))
    events = sync_client().xrange(log_key(run.pk))
    rows = [str(row) for kind in apps.get_app_config("library").get_models() for row in kind.objects.values()]
    assert '\\"answer\\"' in asked
    assert events
    assert {answer.status_code for answer in answers} == {200}
    pages = [answer.content.decode() for answer in answers]
    for text in (asked, str(events), lines.getvalue(), *pages, *rows):
        assert SECRET not in text
    assert str(mine.pk) not in pages[0]  # the exported file
    assert str(mine.pk) not in asked
