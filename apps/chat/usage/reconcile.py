"""Whether windows, cost entries and a provider's own export tell the same."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from uuid import UUID

from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import TruncDate

from apps.chat.usage.models import CostEntry, UsageWindow
from apps.chat.usage.windows import KINDS, LENGTH, window_start

MICRODOLLARS = 1_000_000
#: What exports call the same: OpenRouter says `usage`.
COST_COLUMNS = ("cost", "usage", "cost_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDifference:
    """A window that isn't the sum of its cost entries."""

    user_id: UUID
    kind: str
    starts_at: datetime
    booked: int
    counted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDifference:
    """A day of a model for which the provider's export says something else, in microdollars."""

    day: date
    model: str
    booked: int
    exported: int


def window_differences(since: datetime) -> list[WindowDifference]:
    """Compare every window that began at or after a moment with its cost entries.

    Args:
        since: When the first windows may begin; the start of a week, so that no window is cut.

    Returns:
        The windows that differ. Each is looked at again under its lock, as calls are booked meanwhile.
    """
    sums: dict[tuple[UUID, str, datetime], int] = defaultdict(int)
    days = CostEntry.objects.filter(created_at__gte=since).values_list("user_id", TruncDate("created_at", tzinfo=UTC))
    for user_id, day, microdollars in days.annotate(total=Sum("microdollars")).order_by():
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for kind in KINDS:
            sums[user_id, kind, window_start(kind, moment)] += microdollars
    rows = UsageWindow.objects.filter(starts_at__gte=since)
    counted = {
        (row.user_id, row.kind, row.starts_at): row.used_microdollars + row.forgiven_microdollars for row in rows
    }
    suspects = sorted(key for key in sums.keys() | counted.keys() if sums.get(key, 0) != counted.get(key, 0))
    looked_at = (_look_again(*key) for key in suspects)
    return [difference for difference in looked_at if difference is not None]


@transaction.atomic
def _look_again(user_id: UUID, kind: str, starts_at: datetime) -> WindowDifference | None:
    """Compare one window while nobody can book into it."""
    window = UsageWindow.objects.filter(user_id=user_id, kind=kind, starts_at=starts_at).select_for_update().first()
    counted = 0 if window is None else window.used_microdollars + window.forgiven_microdollars
    ends_at = starts_at + LENGTH[UsageWindow.Kind(kind)]
    entries = CostEntry.objects.filter(user_id=user_id, created_at__gte=starts_at, created_at__lt=ends_at)
    booked = entries.aggregate(total=Sum("microdollars"))["total"] or 0
    if booked == counted:
        return None
    return WindowDifference(user_id=user_id, kind=kind, starts_at=starts_at, booked=booked, counted=counted)


def export_differences(lines: Iterable[str], *, tolerance: int) -> Iterator[ExportDifference]:
    """Compare a provider's usage export with what was booked, for each day and model that the export names.

    Args:
        lines: CSV with a head line and the columns `date` (ISO, UTC), `model`, and `cost`, `usage` or `cost_usd` in US
            dollars.
        tolerance: Microdollars of a day and model that may differ, as exports are rounded.

    Raises:
        ValueError: When it is something else; the message says what.
    """
    exported = _read_export(lines)
    if not exported:
        return
    days = [day for day, _ in exported]
    first, last = min(days), max(days)
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    entries = CostEntry.objects.filter(created_at__gte=begin, created_at__lt=end)
    groups = entries.values_list(TruncDate("created_at", tzinfo=UTC), "model").annotate(total=Sum("microdollars"))
    booked = {(day, model): total for day, model, total in groups.order_by()}
    for (day, model), amount in sorted(exported.items()):
        ours = booked.get((day, model), 0)
        if abs(ours - amount) > tolerance:
            yield ExportDifference(day=day, model=model, booked=ours, exported=amount)


def _read_export(lines: Iterable[str]) -> dict[tuple[date, str], int]:
    """Return the export's sums: day and model → microdollars."""
    table = csv.DictReader(lines)
    names = set(table.fieldnames or ())
    cost = next((name for name in COST_COLUMNS if name in names), None)
    if cost is None or not {"date", "model"} <= names:
        raise ValueError("The export needs the columns date, model and cost.")
    sums: dict[tuple[date, str], Decimal] = defaultdict(Decimal)
    for number, row in enumerate(table, start=2):
        try:
            day, dollars = date.fromisoformat(str(row["date"])[:10]), Decimal(str(row[cost]))
            if not dollars.is_finite():
                raise ValueError("it is not finite")
        except (ValueError, InvalidOperation) as error:
            raise ValueError(f"Line {number} of the export has no usable date or cost.") from error
        sums[day, row["model"]] += dollars
    return {key: int((dollars * MICRODOLLARS).to_integral_value()) for key, dollars in sums.items()}
