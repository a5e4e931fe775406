"""Runs that are long over are removed on demand, whole and alone."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.billing.models import CreditTransaction
from apps.billing.services import grant
from apps.library.executor import retention
from apps.library.executor.retention import Removed, remove_old
from apps.library.models import Execution, NodeExecution, NodeOutput, Review, Webhook, WebhookDelivery
from apps.library.models.executions import Status
from tests.library.pages import world

pytestmark = pytest.mark.django_db
OLD = timezone.now() - timedelta(days=101)
YOUNG = timezone.now() - timedelta(days=99)


def past(agent, status=Status.COMPLETED, ended_at=OLD, **columns) -> Execution:
    """A run that is over, with a node's output and a question that was answered."""
    run = world.add_run(agent, status, ended_at=ended_at, started_at=ended_at or OLD, **columns)
    world.put_out(world.add_use(run, 1), "one", "two")
    world.add_review(run, status=Review.Status.APPROVED)
    return run


def test_what_is_over_and_old_goes_whole(owner):
    agent = world.add_agent(owner)
    old = [past(agent, status) for status in Execution.ENDED]
    child = past(agent, parent=old[0])
    Execution.objects.filter(pk=child.pk).update(root_id=old[0].pk)
    kept = [
        past(agent, ended_at=YOUNG),
        past(agent, Status.RUNNING, None),
        past(agent, Status.REVIEW, None),
        world.add_run(agent, Status.QUEUED, created_at=OLD),
    ]
    grant(user_id=owner.user.pk, amount_cents=5, key="gift")

    assert remove_old(days=100) == Removed(executions=4, deliveries=0)

    left = {run.pk for run in kept}
    assert set(Execution.objects.values_list("pk", flat=True)) == left
    for rows in (NodeExecution.objects.values_list("execution"), Review.objects.values_list("execution")):
        assert {pk for (pk,) in rows} == left - {kept[-1].pk}
    assert NodeOutput.objects.count() == 6
    assert CreditTransaction.objects.count() == 1
    assert remove_old(days=100) == Removed(executions=0, deliveries=0)


def test_a_tree_stays_while_something_of_it_lasts(owner):
    agent = world.add_agent(owner)
    root = past(agent)
    child = past(agent, Status.RUNNING, None, parent=root)
    Execution.objects.filter(pk=child.pk).update(root_id=root.pk)

    assert remove_old(days=100).executions == 0
    Execution.objects.filter(pk=child.pk).update(status=Status.FAILED, ended_at=YOUNG)
    assert remove_old(days=100).executions == 2


def test_deliveries_go_by_their_own_age(owner):
    agent = world.add_agent(owner)
    webhook = Webhook.objects.create(user=owner.user, agent=agent, path_hash="hash")
    WebhookDelivery.objects.create(webhook=webhook, delivery_id="1", received_at=OLD, execution=past(agent))
    young = WebhookDelivery.objects.create(webhook=webhook, delivery_id="2", received_at=YOUNG, execution=past(agent))

    assert remove_old(days=100) == Removed(executions=2, deliveries=1)
    assert WebhookDelivery.objects.get() == young
    assert WebhookDelivery.objects.get().execution is None


def test_many_are_removed_in_parts_that_take_the_same_queries(owner, monkeypatch):
    monkeypatch.setattr(retention, "A_BATCH", 4)
    agent = world.add_agent(owner)
    counts = []
    for number in (1, 4, 5):
        for _ in range(number):
            past(agent)
        with CaptureQueriesContext(connection) as captured:
            assert remove_old(days=100).executions == number
        counts.append(len(captured))
    one, four, five = counts
    assert one == four
    assert one < five <= 2 * one


def test_the_command_says_what_it_did_and_keeps_two_months(owner):
    past(world.add_agent(owner))
    with pytest.raises(CommandError, match="At least 62 days"):
        call_command("remove_old_executions", "--days=61")
    out = StringIO()
    call_command("remove_old_executions", "--days=62", stdout=out)
    assert out.getvalue() == "1 runs and 0 deliveries are removed.\n"
