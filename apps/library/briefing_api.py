"""The briefing over REST."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.library import briefing
from apps.library.reviews.serializers import ReviewSerializer
from apps.library.schedules.serializers import ScheduleSerializer
from apps.runtime.rest import caller_id


class BriefedRunSerializer(serializers.Serializer):
    """A run, in short."""

    id = serializers.UUIDField()
    agent_id = serializers.UUIDField(allow_null=True)
    agent_name = serializers.CharField(source="graph.name")
    status = serializers.CharField()
    error = serializers.CharField(allow_blank=True)
    cost_cents = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class BriefingSerializer(serializers.Serializer):
    """What to know first; of each list there are at most five, and `_total` says how many there are."""

    running = BriefedRunSerializer(many=True, help_text="Newest first, without those that other runs started.")
    running_total = serializers.IntegerField()
    reviews = ReviewSerializer(many=True, help_text="What waits for you, newest first.")
    reviews_total = serializers.IntegerField()
    schedules = ScheduleSerializer(many=True, help_text="What is due next.")
    schedules_total = serializers.IntegerField()
    stopped = ScheduleSerializer(many=True, help_text="What was switched off, as its agent could not be started.")
    stopped_total = serializers.IntegerField()
    failed = BriefedRunSerializer(many=True, help_text="What failed within 24 hours, latest first.")
    failed_total = serializers.IntegerField()
    spent_cents = serializers.IntegerField(help_text="What runs cost that were started this month.")
    spent = serializers.SerializerMethodField(help_text="The same in dollars.")
    month_starts_at = serializers.DateTimeField(help_text="When this month began in your time zone.")

    def get_spent(self, found: briefing.Briefing) -> str:
        """Return the amount as people write it."""
        return briefing.dollars(found.spent_cents)


class BriefingView(APIView):
    """Your briefing."""

    @extend_schema(operation_id="library_briefing", responses=BriefingSerializer)
    def get(self, request: Request) -> Response:
        """Return what runs, waits for you, comes next, was switched off and failed, and what you spent this month."""
        zone = getattr(request.user, "time_zone", "UTC")
        return Response(BriefingSerializer(briefing.briefing(user_id=caller_id(request), time_zone=zone)).data)
