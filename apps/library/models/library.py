"""What a person keeps: agents in folders, presets of their inputs, values that agents remember."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.library.models.graphs import Graph


class Folder(models.Model):
    """A folder of agents; names are unique within their parent."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="library_folders")
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, blank=True, related_name="children")
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name", "id")
        constraints = (
            models.UniqueConstraint(fields=["user", "parent", "name"], name="one_folder_a_name"),
            models.UniqueConstraint(
                fields=["user", "name"], condition=Q(parent__isnull=True), name="one_top_folder_a_name"
            ),
        )

    def __str__(self) -> str:
        return self.name


class LibraryAgent(models.Model):
    """A graph in a person's library; `graph` is the version that runs when none is named."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="library_agents")
    graph = models.ForeignKey(Graph, on_delete=models.CASCADE, related_name="library_agents")
    graph_id_shared = models.UUIDField(editable=False)  # the graph's `graph_id`, for the constraint below
    # {human_in_the_loop_safe_mode, sensitive_action_safe_mode, builder_chat_session_id, …}; unknown keys are kept.
    settings = models.JSONField(default=dict, blank=True)
    folder = models.ForeignKey(Folder, on_delete=models.SET_NULL, null=True, blank=True, related_name="agents")
    is_favorite = models.BooleanField(default=False)
    is_archived = models.BooleanField(default=False)
    run_cap_cents = models.PositiveIntegerField(null=True, blank=True)  # what one run may spend; null = no cap
    daily_cap_cents = models.PositiveIntegerField(null=True, blank=True)  # what its runs may spend a UTC day
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-updated_at", "-id")
        constraints = (models.UniqueConstraint(fields=["user", "graph_id_shared"], name="one_library_agent_a_graph"),)
        indexes = (models.Index(fields=["user", "-updated_at", "-id"], name="library_newest_first"),)

    def __str__(self) -> str:
        return str(self.pk)


class Preset(models.Model):
    """Inputs of an agent under a name."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="presets")
    agent = models.ForeignKey(LibraryAgent, on_delete=models.CASCADE, related_name="presets")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    inputs = models.JSONField(default=dict, blank=True)
    credential_inputs = models.JSONField(default=dict, blank=True)  # {name of the credentials input: credential id}
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-updated_at", "-id")

    def __str__(self) -> str:
        return self.name


class StoredValue(models.Model):
    """A value that an agent remembers from run to run; without a graph, that all of a person's agents share."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="stored_values")
    graph_id_shared = models.UUIDField(null=True, blank=True)
    key = models.CharField(max_length=300)
    value = models.JSONField(null=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("user", "key")
        constraints = (
            models.UniqueConstraint(fields=["user", "graph_id_shared", "key"], name="one_value_a_key_within_agent"),
            models.UniqueConstraint(
                fields=["user", "key"],
                condition=Q(graph_id_shared__isnull=True),
                name="one_value_a_key_across_agents",
            ),
        )

    def __str__(self) -> str:
        return str(self.pk)
