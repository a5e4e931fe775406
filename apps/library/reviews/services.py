"""A person's decisions, each of which counts once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.library.blocks.base import BlockType
from apps.library.blocks.registry import get_block
from apps.library.executor.resume import resume_execution
from apps.library.models import AutoApproval, Execution, Review
from apps.library.models.executions import Status
from apps.library.reviews.errors import DecisionInvalid, NothingDecided, NotWaiting, SeveralRuns
from apps.runtime.errors import NotFound

#: While other nodes still work, a run that has questions is RUNNING.
DECIDABLE = (Status.REVIEW, Status.RUNNING)
HUMAN_IN_THE_LOOP = "8b2a7b3c-6e9d-4a5f-8c1b-2e3f4a5b6c7d"
ALREADY_DECIDED = "Some of these were decided already; those decisions stay."


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person says to one question.

    Attributes:
        node_execution_id: Which question.
        approved: Whether the node may go on.
        message: For the agent, and for whoever looks at the run later.
        reviewed_data: What is approved instead of what was asked about; None = that itself.
        auto_approve_future: Whether all further questions of the node in this run are approved too.
    """

    node_execution_id: UUID
    approved: bool
    message: str = ""
    reviewed_data: Any = None
    auto_approve_future: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many decisions were taken; those that failed came too late."""

    approved_count: int
    rejected_count: int
    failed_count: int

    @property
    def error(self) -> str:
        """Why some failed; empty when none did."""
        return ALREADY_DECIDED if self.failed_count else ""


@transaction.atomic
def decide(*, user_id: UUID, decisions: Sequence[Decision]) -> Outcome:
    """Take decisions about one run; the one that leaves nothing waiting lets the run go on.

    Args:
        user_id: Who decides.
        decisions: About different questions.

    Returns:
        How many were taken. A question that was answered already keeps its answer.

    Raises:
        NothingDecided: When there are none, or two about one question.
        NotFound: When one of the questions is unknown or somebody else's; nothing is taken then, here and below.
        SeveralRuns: When they are about several runs.
        DecisionInvalid: When one can't be taken as it is.
        NotWaiting: When the run doesn't wait for a person.
    """
    by_id = {decision.node_execution_id: decision for decision in decisions}
    if not decisions or len(by_id) != len(decisions):
        raise NothingDecided
    asked = Review.objects.select_related("node_execution__node").filter(pk__in=by_id, user=user_id)
    reviews = {review.pk: review for review in asked}
    if len(reviews) != len(by_id):
        raise NotFound
    run_ids = {review.execution_id for review in reviews.values()}
    if len(run_ids) > 1:
        raise SeveralRuns
    for node_execution_id, decision in by_id.items():
        check_decision(decision, reviews[node_execution_id])
    (run_id,) = run_ids
    # This locks the run's row: decisions about a run, and its runner's last look at them, follow one another.
    if not Execution.objects.filter(pk=run_id, status__in=DECIDABLE).update(node_count=F("node_count")):
        raise NotWaiting
    taken = [decision for decision in decisions if write(decision)]
    further = approve_further(run_id, taken, reviews)
    if taken:
        resume_execution(run_id)
    approved = sum(decision.approved for decision in taken)
    return Outcome(approved + further, len(taken) - approved, len(decisions) - len(taken))


def check_decision(decision: Decision, review: Review) -> None:
    """Refuse what contradicts itself or the question.

    Raises:
        DecisionInvalid: Then.
    """
    edited = decision.reviewed_data is not None
    wrong = ""
    if not decision.approved and (edited or decision.auto_approve_future):
        wrong = "What is rejected can neither be changed nor be approved for the future."
    elif edited and decision.auto_approve_future:
        wrong = "Changed data can't be approved for the future too."
    elif edited and not review.is_editable:
        wrong = "This can't be changed, only approved or rejected."
    elif edited and is_sensitive(review) and not isinstance(decision.reviewed_data, dict):
        wrong = "The inputs of a block are an object."
    if wrong:
        raise DecisionInvalid(decision.node_execution_id, wrong)


def is_sensitive(review: Review) -> bool:
    """Return whether a question is about a block's inputs, and not the data that a human-in-the-loop block shows."""
    block_id = review.node_execution.node.block_id
    block = get_block(block_id)
    return block_id != HUMAN_IN_THE_LOOP and (block is None or block.type != BlockType.HUMAN_IN_THE_LOOP)


def write(decision: Decision) -> bool:
    """Answer a question that still waits; of any number of answers one is taken."""
    answer = {"message": decision.message, "reviewed_at": Now()}
    if not decision.approved:
        answer |= {"status": Review.Status.REJECTED}
    elif decision.reviewed_data is None:
        answer |= {"status": Review.Status.APPROVED, "reviewed_data": F("payload")}
    else:
        answer |= {"status": Review.Status.APPROVED, "reviewed_data": decision.reviewed_data}
    waiting = Review.objects.filter(pk=decision.node_execution_id, status=Review.Status.WAITING)
    return bool(waiting.update(**answer))


def approve_further(run_id: UUID, taken: Sequence[Decision], reviews: Mapping[UUID, Review]) -> int:
    """Approve all further questions of nodes where the person said so; returns how many of them wait already."""
    nodes = {
        reviews[decision.node_execution_id].node_execution.node_id for decision in taken if decision.auto_approve_future
    }
    if not nodes:
        return 0
    rows = [AutoApproval(execution_id=run_id, node_id=node_id) for node_id in nodes]
    AutoApproval.objects.bulk_create(rows, ignore_conflicts=True)
    waiting = Review.objects.filter(execution=run_id, status=Review.Status.WAITING, node_execution__node__in=nodes)
    return waiting.update(status=Review.Status.APPROVED, reviewed_data=F("payload"), reviewed_at=Now())
