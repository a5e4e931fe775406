"""Shapes of the schedules API."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils import timezone
from rest_framework import serializers

from apps.library.models import Schedule
from apps.library.schedules import cron
from apps.runtime.rest import PageQuerySerializer, StrictSerializer

#: How many of the next times are told.
TOLD = 3
CRON_HELP = "Five fields: minute, hour, day of the month, month, day of the week."


class ScheduleQuerySerializer(PageQuerySerializer):
    """Which page of schedules is asked for."""

    agent_id = serializers.UUIDField(required=False, help_text="Only those of this agent.")


class _FieldsSerializer(StrictSerializer):
    """What may be given when a schedule is made and when it is changed."""

    name = serializers.CharField(max_length=200, required=False)
    cron = serializers.CharField(max_length=200, required=False, help_text=f"{CRON_HELP} Or else `run_at`.")
    run_at = serializers.DateTimeField(required=False, help_text="A single run; without an offset it is UTC.")
    time_zone = serializers.CharField(
        max_length=64, required=False, help_text="The IANA name of the zone that the expression counts in."
    )
    inputs = serializers.DictField(required=False)
    credential_inputs = serializers.DictField(child=serializers.UUIDField(), required=False)
    graph_version = serializers.IntegerField(
        min_value=1, max_value=2**31 - 1, required=False, allow_null=True, help_text="Null: the active one."
    )

    def validate_credential_inputs(self, value: dict[str, object]) -> dict[str, str]:
        """Return the ids as they are stored."""
        return {name: str(credential_id) for name, credential_id in value.items()}


class CreateScheduleSerializer(_FieldsSerializer):
    """A new schedule."""

    agent_id = serializers.UUIDField()
    name = serializers.CharField(max_length=200)


class UpdateScheduleSerializer(_FieldsSerializer):
    """What is to be different."""

    is_enabled = serializers.BooleanField(required=False)


class ScheduleSerializer(serializers.Serializer):
    """A schedule."""

    id = serializers.UUIDField()
    agent_id = serializers.UUIDField()
    agent_name = serializers.CharField(source="agent.graph.name")
    graph_version = serializers.IntegerField(allow_null=True)
    name = serializers.CharField()
    cron = serializers.CharField(allow_blank=True)
    run_at = serializers.DateTimeField(allow_null=True)
    time_zone = serializers.CharField()
    inputs = serializers.DictField()
    credential_inputs = serializers.DictField()
    is_enabled = serializers.BooleanField()
    next_run_at = serializers.DateTimeField(allow_null=True, help_text="Null: never again, or not while it is off.")
    next_runs = serializers.SerializerMethodField(help_text="The next three times, with the zone's offset.")
    words = serializers.SerializerMethodField(help_text="When it runs, in words.")
    problem = serializers.CharField(
        source="disabled_reason",
        allow_blank=True,
        help_text="Why it was switched off or, while it is on, why the last time was passed over.",
    )
    skipped_at = serializers.DateTimeField(allow_null=True, help_text="The last due time that was passed over.")
    last_run_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()

    def get_next_runs(self, schedule: Schedule) -> list[datetime]:
        """Return the next times as the clock shows them in the schedule's zone."""
        if schedule.next_run_at is None:
            return []
        found = [schedule.next_run_at]
        if schedule.cron:
            found += cron.upcoming(schedule.cron, schedule.time_zone, schedule.next_run_at, TOLD - 1)
        zone = ZoneInfo(schedule.time_zone)
        return [moment.astimezone(zone) for moment in found]

    def get_words(self, schedule: Schedule) -> str:
        """Return when it runs, in words."""
        if schedule.cron:
            return f"{cron.words(schedule.cron)} ({schedule.time_zone})"
        assert schedule.run_at is not None
        moment = timezone.localtime(schedule.run_at, ZoneInfo(schedule.time_zone))
        return f"Once, on {moment:%Y-%m-%d at %H:%M} ({schedule.time_zone})"


class SchedulePageSerializer(serializers.Serializer):
    """A page of schedules, what is due next first."""

    schedules = ScheduleSerializer(many=True)
    total = serializers.IntegerField()
