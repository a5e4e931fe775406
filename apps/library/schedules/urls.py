"""Addresses of schedules, below `/api/library/`."""

from __future__ import annotations

from django.urls import path

from apps.library.schedules import api

urlpatterns = [
    path("schedules", api.ScheduleListView.as_view(), name="library-schedules"),
    path("schedules/<uuid:schedule_id>", api.ScheduleView.as_view(), name="library-schedule"),
]
