"""A dry run of each example agent: it ends well with a full trace, leaves the machine in peace, and costs nothing."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop
from django.conf import settings as django_settings

from apps.billing.models import CreditTransaction
from apps.chat.usage.models import CostEntry, UsageWindow
from apps.library.blocks.base import ERROR_PIN, BlockType
from apps.library.blocks.registry import all_blocks
from apps.library.blocks.services import offered
from apps.library.executor import simulate
from apps.library.executor.outputs import grouped, values_by_name
from apps.library.executor.start import start_execution
from apps.library.graphs.examples import example_files
from apps.library.graphs.services import import_agent
from apps.library.models import Execution, Link, Node, NodeExecution, NodeOutput, Review
from tests.library.executor.conftest import wait_for

#: What somebody would fill in; all else has its default.
INPUTS: dict[str, dict[str, Any]] = {
    "compare-two-texts": {"First text": "One two three.", "Second text": "Four five."},
    "csv-report": {"CSV file": "data:text/csv;base64,bmFtZSxhZ2UKQWRhLDM2Cg=="},
    "email-triage": {"E-mail": "From: Ada\nSubject: Tuesday\n\nShall we meet?"},
    "meeting-notes-to-tasks": {"Notes": "Ada writes the report until Friday."},
    "post-with-approval": {"Topic": "Gardens"},
    "quiz-maker": {"Topic": "Rivers"},
    "rss-digest": {"Feed address": "https://feeds.example.com/news.xml"},
    "savings-over-years": {"Amount": 1000},
    "summarise-text": {"Text": "A long text."},
    "web-page-to-bullet-points": {"Web address": "https://www.example.com/"},
}
#: Outputs that a dry run has none of: it approves all that people are asked.
NOT_GIVEN = {"post-with-approval": {"Rejected"}}


class Reached(OSError):
    """Something went out that should not."""


@pytest.fixture
def tried(monkeypatch) -> list[Any]:
    """Forbid every way out but the one to the suite's Redis; a list of what was tried.

    The worker's loop opens connections by itself, without Python's sockets.
    """
    found: list[Any] = []
    redis = urlsplit(django_settings.REDIS_URL)
    allowed = {(redis.hostname, redis.port or 6379)}

    def check(*where: Any) -> None:
        if tuple(where[:2]) not in allowed:
            found.append(where)
            raise Reached(where)

    connect, connect_ex, resolve = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
    loop = uvloop.Loop
    loop_connect, loop_resolve, loop_sock = loop.create_connection, loop.getaddrinfo, loop.sock_connect

    def on_connect(inner: Any) -> Any:
        def connecting(self: socket.socket, address: Any) -> Any:
            if self.family != socket.AF_UNIX:
                check(*address)
            return inner(self, address)

        return connecting

    def resolving(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        check(host, port)
        return resolve(host, port, *more, **options)

    async def loop_connecting(self: Any, protocol: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if options.get("sock") is None:
            check(host, port)
        return await loop_connect(self, protocol, host, port, **options)

    async def loop_resolving(self: Any, host: Any, port: Any, **options: Any) -> Any:
        check(host, port)
        return await loop_resolve(self, host, port, **options)

    async def loop_sock_connecting(self: Any, sock: Any, address: Any) -> Any:
        check(*address)
        return await loop_sock(self, sock, address)

    async def refuse(self: Any, *arguments: Any, **options: Any) -> Any:
        check("datagrams", arguments)

    monkeypatch.setattr(socket.socket, "connect", on_connect(connect))
    monkeypatch.setattr(socket.socket, "connect_ex", on_connect(connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    monkeypatch.setattr(loop, "create_connection", loop_connecting)
    monkeypatch.setattr(loop, "getaddrinfo", loop_resolving)
    monkeypatch.setattr(loop, "sock_connect", loop_sock_connecting)
    monkeypatch.setattr(loop, "create_datagram_endpoint", refuse)
    return found


def test_every_example_has_inputs_here():
    assert set(INPUTS) == set(example_files())


@pytest.mark.parametrize("played_by", ["samples", "model"])
def test_a_dry_run_of_each_example_ends_with_a_full_trace(owner, runs, tried, monkeypatch, played_by):
    if played_by == "model":
        monkeypatch.setitem(offered, "ask_cheap_model", a_model)
    started = {}
    for name, file in example_files().items():
        agent = import_agent(user_id=owner.user.pk, file=file).agent
        started[name] = start_execution(
            user_id=owner.user.pk, graph=agent.graph, agent=agent, inputs=INPUTS[name], is_dry_run=True
        ).pk
    for name, run_id in started.items():
        run = wait_for(run_id)
        assert (run.status, run.error) == ("COMPLETED", ""), name
        check_trace(run, NOT_GIVEN.get(name, set()))
    for child in Execution.objects.exclude(parent=None):
        assert child.status == "COMPLETED"
        check_trace(child, set())
    assert Execution.objects.exclude(parent=None).count() == 2
    assert tried == []
    assert_free()


def test_a_file_of_another_machine_is_played(owner, runs, tried):
    agent = import_agent(user_id=owner.user.pk, file=example_files()["csv-report"]).agent
    inputs = {"CSV file": "https://files.example.com/table.csv"}

    started = start_execution(user_id=owner.user.pk, graph=agent.graph, agent=agent, inputs=inputs, is_dry_run=True)

    run = wait_for(started.pk)
    check_trace(run, set())
    assert tried == []


def test_what_goes_out_is_seen_here(owner, runs, tried):
    agent = import_agent(user_id=owner.user.pk, file=example_files()["rss-digest"]).agent

    run = start_execution(user_id=owner.user.pk, graph=agent.graph, agent=agent, inputs=INPUTS["rss-digest"])

    wait_for(run.pk)
    assert tried == [("feeds.example.com", 443)]


async def a_model(*, system: str, text: str) -> str:
    """Play a block: every output that it has, but for errors."""
    schema = json.loads(text)["output_schema"]
    return json.dumps({name: simulate.sample(found, schema) for name, found in schema["properties"].items()})


def check_trace(run: Execution, not_given: set[str]) -> None:
    """See that all of a run's nodes ran as its links say, with their inputs and outputs in rows."""
    uses = list(NodeExecution.objects.filter(execution=run).select_related("node"))
    put_out: dict[Any, list[NodeOutput]] = {use.pk: [] for use in uses}
    for row in NodeOutput.objects.filter(node_execution__execution=run):
        put_out[row.node_execution_id].append(row)
    blocks = all_blocks()
    nodes = {
        node.pk
        for node in Node.objects.filter(graph=run.graph)
        if blocks[node.block_id].type != BlockType.NOTE and node.input_default.get("name") not in not_given
    }
    ran = {use.node_id for use in uses if use.status == "COMPLETED"}
    assert ran >= nodes, Node.objects.filter(pk__in=nodes - ran).values_list("block_id", "input_default")
    links = list(Link.objects.filter(graph=run.graph))
    for use in uses:
        # What else there is waits in a loop for another round that didn't come.
        assert use.status in {"COMPLETED", "INCOMPLETE"}, use.error
        if use.status == "COMPLETED":
            assert use.started_at
            assert use.ended_at
            assert {row.pin for row in put_out[use.pk]} - {ERROR_PIN}, use.node.block_id
            fed = {link.sink_name for link in links if link.sink_id == use.node_id}
            assert set(use.input_data) <= fed
            assert bool(use.input_data) == bool(fed)
    names = {
        str(node.input_default["name"])
        for node in Node.objects.filter(graph=run.graph)
        if blocks[node.block_id].type == BlockType.OUTPUT
    }
    given = grouped(values_by_name(run))
    assert set(given) == names - not_given
    assert all(values and None not in values for values in given.values())


def assert_free() -> None:
    """See that nothing was taken from anybody or counted against them, and nobody was asked."""
    assert not CreditTransaction.objects.exists()
    assert not CostEntry.objects.exists()
    assert not UsageWindow.objects.exists()
    assert not Review.objects.exists()
    assert not Execution.objects.exclude(cost_cents=0, cost_microdollars=0, is_dry_run=True).exists()
    assert not NodeExecution.objects.exclude(charged_cents=0).exists()
