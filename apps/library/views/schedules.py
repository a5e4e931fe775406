"""Schedules: the list, making one, pausing and deleting."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from apps.accounts.models import User
from apps.library.errors import GraphInvalid, InputsInvalid
from apps.library.graphs import queries as graph_queries
from apps.library.models import Preset, Schedule
from apps.library.pages import queries
from apps.library.schedules import cron, services
from apps.library.schedules import queries as schedule_queries
from apps.library.schedules.errors import ScheduleInvalid
from apps.library.views.frame import as_id, asked_id, page, page_number, paging, tell_error
from apps.runtime.errors import NotFound

SCHEDULES_A_PAGE = 25
NEXT_RUNS_SHOWN = 3
NAME_LENGTH = 200
#: What people choose instead of writing an expression: the fields of the day and the week.
RHYTHMS = {
    "hourly": "Every hour",
    "daily": "Every day",
    "weekdays": "Monday to Friday",
    "weekly": "Every week",
    "monthly": "Every month",
    "cron": "By a cron expression",
    "once": "Once",
}
DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


@dataclass(slots=True)
class ScheduleForm:
    """A new schedule as it was entered."""

    agent: str = ""
    preset: str = ""
    name: str = ""
    rhythm: str = "daily"
    at: str = "09:00"
    day: str = "1"
    cron: str = ""
    run_at: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, request: HttpRequest) -> ScheduleForm:
        """Return what was sent."""
        form = cls()
        for name in ("agent", "preset", "name", "rhythm", "at", "day", "cron", "run_at"):
            setattr(form, name, request.POST.get(name, "").replace("\x00", "").strip())
        return form

    def when(self, user: User) -> dict[str, Any]:
        """Return `cron` or `run_at` as the service wants it; what can't be read is told in `errors`."""
        if self.rhythm == "cron":
            if not self.cron:
                self.errors["cron"] = "Write an expression of five fields, like 0 9 * * 1-5."
            return {"cron": self.cron}
        if self.rhythm == "once":
            return self._once(user)
        hour, _, minute = self.at.partition(":")
        if not (hour.isdigit() and minute[:2].isdigit() and int(hour) < 24 and int(minute[:2]) < 60):
            self.errors["at"] = "This isn't a time like 09:00."
            return {}
        clock = f"{int(minute[:2])} {int(hour)}"
        day = self.day if self.day.isdigit() else "1"
        patterns = {
            "hourly": f"{int(minute[:2])} * * * *",
            "daily": f"{clock} * * *",
            "weekdays": f"{clock} * * 1-5",
            "weekly": f"{clock} * * {int(day) % 7}",
            "monthly": f"{clock} 1 * *",
        }
        if self.rhythm not in patterns:
            self.errors["rhythm"] = "Choose one of these."
            return {}
        return {"cron": patterns[self.rhythm]}

    def _once(self, user: User) -> dict[str, Any]:
        try:
            moment = datetime.fromisoformat(self.run_at)
        except ValueError:
            self.errors["run_at"] = "Choose a day and a time."
            return {}
        return {"run_at": moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(user.time_zone))}


@page("GET", "POST")
def schedule_list(request: HttpRequest, user: User) -> HttpResponse:
    """Show schedules with their next runs; a POST makes one."""
    form = ScheduleForm(agent=str(asked_id(request, "agent") or ""), preset=str(asked_id(request, "preset") or ""))
    if request.method == "POST":
        form = ScheduleForm.read(request)
        if (made := _make(user, form)) is not None:
            messages.success(request, f"“{made.name}” is planned.")
            return redirect("library:schedules")
    number = page_number(request)
    rows, total = schedule_queries.list_schedules(
        user_id=user.pk, limit=SCHEDULES_A_PAGE, offset=(number - 1) * SCHEDULES_A_PAGE
    )
    context = {
        "rows": [(row, words_of(row), next_runs(row)) for row in rows],
        "paging": paging(request, number=number, size=SCHEDULES_A_PAGE, total=total),
        "form": form,
        "agents": queries.agent_names(user.pk),
        "presets": graph_queries.list_presets(user_id=user.pk, limit=100, offset=0)[0],
        "rhythms": RHYTHMS,
        "days": list(enumerate(DAYS)),
        "opens_form": bool(form.errors or form.agent),
    }
    return render(request, "library/schedules.html", context, status=400 if form.errors else 200)


def _make(user: User, form: ScheduleForm) -> Schedule | None:
    """Store what was entered; None when it can't be, with the reasons in the form."""
    agent_id = as_id(form.agent)
    if agent_id is None:
        form.errors["agent"] = "Choose an agent."
    if not form.name or len(form.name) > NAME_LENGTH:
        form.errors["name"] = "Give it a name that you know it by."
    when = form.when(user)
    preset = _preset(user, form)
    if form.errors or agent_id is None:
        return None
    try:
        return services.create_schedule(
            user_id=user.pk,
            agent_id=agent_id,
            name=form.name,
            inputs=preset.inputs if preset else {},
            credential_inputs=preset.credential_inputs if preset else {},
            **when,
        )
    except ScheduleInvalid as error:
        form.errors["cron" if form.rhythm == "cron" else "run_at" if form.rhythm == "once" else "at"] = error.detail
    except InputsInvalid as error:
        missing = ", ".join(error.fields["problems"])
        form.errors["preset"] = f"The agent can't run with these inputs ({missing}). Choose a preset that has them."
    except GraphInvalid:
        form.errors["agent"] = "This agent can't run as it is. Its page says what is missing."
    except NotFound:
        form.errors["agent"] = "Choose an agent."
    return None


def _preset(user: User, form: ScheduleForm) -> Preset | None:
    preset_id = as_id(form.preset)
    if preset_id is None:
        return None
    try:
        preset = graph_queries.access_preset(user.pk, preset_id)
    except NotFound:
        preset = None
    if preset is None or str(preset.agent_id) != form.agent:
        form.errors["preset"] = "This preset belongs to another agent."
        return None
    return preset


def words_of(schedule: Schedule) -> str:
    """Return when a schedule runs, in words."""
    if schedule.cron:
        return cron.words(schedule.cron)
    assert schedule.run_at is not None
    return f"Once, on {timezone.localtime(schedule.run_at, ZoneInfo(schedule.time_zone)):%-d %B %Y at %H:%M}"


def next_runs(schedule: Schedule) -> list[datetime]:
    """Return when a schedule is due next, on its own clock."""
    if schedule.next_run_at is None or not schedule.is_enabled:
        return []
    found = [schedule.next_run_at]
    if schedule.cron:
        found += cron.upcoming(schedule.cron, schedule.time_zone, schedule.next_run_at, NEXT_RUNS_SHOWN - 1)
    zone = ZoneInfo(schedule.time_zone)
    return [timezone.localtime(moment, zone) for moment in found]


@page("POST")
def switch(request: HttpRequest, user: User, schedule_id: UUID) -> HttpResponse:
    """Pause a schedule, or let it go on."""
    is_enabled = request.POST.get("is_enabled") == "1"
    try:
        schedule = services.update_schedule(user_id=user.pk, schedule_id=schedule_id, is_enabled=is_enabled)
    except (ScheduleInvalid, GraphInvalid, InputsInvalid) as error:
        tell_error(request, error)
    else:
        messages.success(request, f"“{schedule.name}” {'goes on' if is_enabled else 'is paused'}.")
    return redirect("library:schedules")


@page("POST")
def delete(request: HttpRequest, user: User, schedule_id: UUID) -> HttpResponse:
    """Delete a schedule; its runs stay."""
    services.delete_schedule(user_id=user.pk, schedule_id=schedule_id)
    messages.success(request, "The schedule is deleted. Its runs are kept.")
    return redirect("library:schedules")
