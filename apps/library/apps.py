"""Agents: graphs of blocks, and their runs."""

from __future__ import annotations

from django.apps import AppConfig


class LibraryConfig(AppConfig):
    """Graphs, blocks, executions, schedules, webhooks, reviews and credentials."""

    name = "apps.library"

    def ready(self) -> None:
        """Join Celery's worker signals, stop the runs of agents that go, and give new people examples."""
        from allauth.account.signals import user_signed_up

        from apps.library import process  # noqa: F401 -- joins Celery's worker signals
        from apps.library.executor.cancel import stop_tree
        from apps.library.graphs import hooks
        from apps.library.graphs.examples import load_for_new_user

        if stop_tree not in hooks.on_runs_unwanted:
            hooks.on_runs_unwanted.append(stop_tree)
        user_signed_up.connect(load_for_new_user, dispatch_uid="library-examples")
