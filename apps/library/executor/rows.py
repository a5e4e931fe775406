"""What a runner writes. Every write is one fenced transaction, safe to repeat when its answer was lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import connection, models, transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.library.executor import announce, cancel
from apps.library.executor.costs import Bill, charge
from apps.library.models import AutoApproval, Execution, NodeExecution, NodeOutput, Review
from apps.library.models.executions import REACHED_FROM, Status
from apps.runtime.leases import Claim, Replaced

#: The end that a runner asks for when nothing is left to do: the rows decide whether people are waited for.
DONE = "done"
NO_CREDITS = "insufficient_balance"
APPROVED_FOR_ALL = "Approved once and for all in this run."
NO_CREDITS_SENTENCE = "Your credits ran out in the middle of this run."

#: The columns of a node run that change, in the order of the statement below.
CHANGING = ("status", "input_data", "stats", "error", "queued_at", "started_at", "ended_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWrite:
    """A node run as it is to be stored; `before` is the status that its row has, None when it has no row."""

    id: UUID
    node_id: UUID
    number: int
    before: str | None
    status: str
    input_data: dict[str, Any] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OutputWrite:
    """A value to be stored."""

    node_execution_id: UUID
    position: int
    pin: str
    data: Any


@dataclass(frozen=True, slots=True)
class ReviewWrite:
    """A question to be put to a person."""

    node_execution_id: UUID
    payload: Any
    instructions: str
    is_editable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One transaction of a runner: what any number of node runs did since the last.

    Attributes:
        user_id: Whose run it is; who pays.
        nodes: Node runs that are new or changed.
        outputs: What they put out.
        reviews: What they ask.
        bills: What those cost that have ended.
        ended_nodes: How many ended, how many of those failed, and how many seconds they took together.
        end: `DONE`, or the status FAILED or TERMINATED; empty while the run goes on.
        error: Code and sentence of a failure.
        handed_over: True when another runner is to go on.
    """

    user_id: UUID
    nodes: Sequence[NodeWrite] = ()
    outputs: Sequence[OutputWrite] = ()
    reviews: Sequence[ReviewWrite] = ()
    bills: Sequence[Bill] = ()
    ended_nodes: tuple[int, int, float] = (0, 0, 0.0)
    end: str = ""
    error: tuple[str, str] = ("", "")
    handed_over: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write; REVIEW and RUNNING also answer `DONE`.

    Attributes:
        status: The run's.
        is_short: Whether credits ran out.
        cost_cents: What the run has cost so far.
        is_stopping: Whether the run is to be stopped; it doesn't end as if it weren't.
    """

    status: str
    is_short: bool = False
    cost_cents: int = 0
    is_stopping: bool = False


@transaction.atomic
def commit(claim: Claim, number: int, write: Write) -> Written:
    """Do one write of a runner, once.

    Raises:
        Replaced: When the runner lost its lease or the run has ended; nothing is written then.
    """
    if not Execution.objects.fenced_write(claim, number, **run_changes(write)):
        return written(claim.run_id)
    insert_nodes(claim.run_id, [node for node in write.nodes if node.before is None])
    update_nodes([node for node in write.nodes if node.before is not None])
    insert_outputs(write.outputs)
    if write.reviews:
        ask(claim.run_id, write.user_id, write.reviews)
    is_short = pay(claim.run_id, write.user_id, write.bills) if write.bills else False
    if write.end == DONE and not is_short:
        end_when_answered(claim.run_id)
    if write.end in {Status.FAILED, Status.TERMINATED}:
        cancel.close_reviews(claim.run_id)
        cancel.leave_no_children(claim.run_id)
    if write.end:
        transaction.on_commit(partial(announce.tell_end, claim.run_id))
    return written(claim.run_id) if write.end or write.bills else Written(Status.RUNNING)


def written(run_id: UUID) -> Written:
    """Return what a write led to, by the row."""
    row = Execution.objects.values("status", "error_code", "cost_cents", "cancel_requested_at").get(pk=run_id)
    is_short, is_stopping = row["error_code"] == NO_CREDITS, row["cancel_requested_at"] is not None
    return Written(row["status"], is_short, row["cost_cents"], is_stopping)


def run_changes(write: Write) -> dict[str, Any]:
    """Return the columns of the run that a write sets."""
    changes: dict[str, Any] = {}
    count, errors, seconds = write.ended_nodes
    if count:
        changes |= {"node_count": F("node_count") + count, "node_seconds": F("node_seconds") + seconds}
    if errors:
        changes["node_error_count"] = F("node_error_count") + errors
    if write.end in {Status.FAILED, Status.TERMINATED}:
        code, sentence = write.error
        changes |= {"status": write.end, "ended_at": Now(), "lease_expires_at": None}
        changes |= {"error_code": code, "error": sentence}
    if write.handed_over:
        # Still running, but nobody's: whoever claims it counts no lost lease.
        changes |= {"queued_at": Now(), "lease_expires_at": Now(), "runner": ""}
    return changes


def insert_nodes(run_id: UUID, nodes: Sequence[NodeWrite]) -> None:
    """Store new node runs."""
    insert(
        NodeExecution,
        ("id", "execution", "node", "number", "charged_cents", *CHANGING),
        [
            (node.id, run_id, node.node_id, node.number, 0, *(getattr(node, name) for name in CHANGING))
            for node in nodes
        ],
    )


def insert_outputs(outputs: Sequence[OutputWrite]) -> None:
    """Store what node runs put out."""
    insert(
        NodeOutput,
        ("node_execution", "position", "pin", "data"),
        [(found.node_execution_id, found.position, found.pin, found.data) for found in outputs],
    )


def insert(model: type[models.Model], names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, each with the values of the named fields.

    `bulk_create` builds its statement anew each time, which takes longer than all else of a small write.
    """
    if not rows:
        return
    columns = fields(model, names)
    with connection.cursor() as cursor:
        cursor.executemany(
            insert_statement(model, names),
            [
                [column.get_db_prep_save(value, connection) for column, value in zip(columns, row, strict=True)]
                for row in rows
            ],
        )


@cache
def insert_statement(model: type[models.Model], names: tuple[str, ...]) -> str:
    """Return the statement that inserts a row with the named fields."""
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(found.column)) for found in fields(model, names))
    places = ", ".join(["%s"] * len(names))
    table = quote(model._meta.db_table)  # noqa: SLF001 -- Django's documented API
    return f"INSERT INTO {table} ({columns}) VALUES ({places})"  # noqa: S608 -- names of our own


@cache
def fields(model: type[models.Model], names: tuple[str, ...]) -> tuple[models.Field[Any, Any], ...]:
    """Return a table's fields by their names."""
    return tuple(model._meta.get_field(name) for name in names)  # type: ignore[misc]  # noqa: SLF001


def update_nodes(nodes: Sequence[NodeWrite]) -> None:
    """Store what changed of node runs, each only along the table of statuses.

    Raises:
        Replaced: When a row isn't where its runner left it.
    """
    by_way = sorted(nodes, key=way_of)
    for (before, status), found in groupby(by_way, key=way_of):
        group, left = list(found), str(before)
        if before != status and before not in REACHED_FROM[status]:
            # It ran in between, as memory tells; its row goes the same way.
            ids = [node.id for node in group]
            move_nodes(ids, Status.RUNNING, before=left)
            left = Status.RUNNING
        assert left == status or left in REACHED_FROM[status]
        with connection.cursor() as cursor:
            cursor.executemany(update_statement(), [update_values(node, left) for node in group])
            if cursor.rowcount != len(group):
                raise Replaced


def way_of(node: NodeWrite) -> tuple[str, str]:
    """Return from where to where a row goes."""
    return str(node.before), str(node.status)


def move_nodes(ids: Sequence[UUID], status: str, *, before: str) -> None:
    """Bring node runs from a status to one that it leads to.

    Raises:
        Replaced: When not all of them are there.
    """
    assert before in REACHED_FROM[status]
    if NodeExecution.objects.filter(pk__in=ids, status=before).update(status=status) != len(ids):
        raise Replaced


@cache
def update_statement() -> str:
    """Return the statement that updates one node run; thousands of rows a second are too many for `bulk_update`."""
    quote = connection.ops.quote_name
    columns = [quote(str(found.column)) for found in fields(NodeExecution, CHANGING)]
    assignments = ", ".join(f"{column} = %s" for column in columns)
    table = quote(NodeExecution._meta.db_table)  # noqa: SLF001 -- Django's documented API
    return f"UPDATE {table} SET {assignments} WHERE {quote('id')} = %s AND {quote('status')} = %s"  # noqa: S608


def update_values(node: NodeWrite, before: str) -> list[Any]:
    """Return the values for `update_statement`."""
    columns = fields(NodeExecution, CHANGING)
    values = [found.get_db_prep_save(getattr(node, found.attname), connection) for found in columns]
    key = NodeExecution._meta.pk.get_db_prep_value(node.id, connection)  # noqa: SLF001
    return [*values, key, before]


def ask(run_id: UUID, user_id: UUID, reviews: Iterable[ReviewWrite]) -> None:
    """Store questions to a person; those of nodes that they approved once and for all are answered at once."""
    Review.objects.bulk_create(
        Review(
            node_execution_id=review.node_execution_id,
            execution_id=run_id,
            user_id=user_id,
            payload=review.payload,
            instructions=review.instructions,
            is_editable=review.is_editable,
        )
        for review in reviews
    )
    if nodes := approved_nodes(run_id):
        mine = Review.objects.filter(execution=run_id, status=Review.Status.WAITING, node_execution__node__in=nodes)
        mine.update(status=Review.Status.APPROVED, message=APPROVED_FOR_ALL, reviewed_at=Now())


def approved_nodes(run_id: UUID) -> set[UUID]:
    """Return the nodes whose further questions in a run a person has approved."""
    return set(AutoApproval.objects.filter(execution=run_id).values_list("node_id", flat=True))


def pay(run_id: UUID, user_id: UUID, bills: Sequence[Bill]) -> bool:
    """Charge node runs; returns whether credits ran out, which is also noted on the run."""
    accrued = Execution.objects.values_list("cost_microdollars", flat=True).get(pk=run_id)
    taken, left, is_short = charge(execution_id=run_id, user_id=user_id, bills=bills, accrued=accrued)
    for node_execution_id, cents in taken.items():
        NodeExecution.objects.filter(pk=node_execution_id).update(charged_cents=cents)
    changes: dict[str, Any] = {"cost_cents": F("cost_cents") + sum(taken.values()), "cost_microdollars": left}
    if is_short:
        changes |= {"error_code": NO_CREDITS, "error": NO_CREDITS_SENTENCE}
    Execution.objects.filter(pk=run_id).update(**changes)
    return is_short


def end_when_answered(run_id: UUID) -> None:
    """End a run that has nothing left to do, or let it wait for people, or go on when they have answered meanwhile.

    Whoever answers or stops touches the run's row first, as the fence before this did, so that nothing falls in
    between. One that is to be stopped goes on until its runner stops it.
    """
    waiting = Review.objects.filter(execution=run_id, node_execution__status=Status.REVIEW)
    statuses = set(waiting.values_list("status", flat=True))
    mine = Execution.objects.filter(pk=run_id, cancel_requested_at__isnull=True)
    if not statuses:
        mine.move(Status.COMPLETED, ended_at=Now(), lease_expires_at=None)
    elif statuses == {Review.Status.WAITING}:
        mine.move(Status.REVIEW, lease_expires_at=None, runner="")


def node_decisions(run_id: UUID) -> Mapping[UUID, tuple[bool, Any, str]]:
    """Return what people decided of node runs that wait for it: (approved, data, message)."""
    answered = Review.objects.filter(execution=run_id, node_execution__status=Status.REVIEW)
    rows = answered.exclude(status=Review.Status.WAITING)
    found = rows.values_list("node_execution_id", "status", "payload", "reviewed_data", "message")
    return {
        pk: (status == Review.Status.APPROVED, payload if reviewed is None else reviewed, message)
        for pk, status, payload, reviewed, message in found
    }
