"""Graphs: versioned, immutable once saved; nodes and links are rows."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class GraphQuerySet(models.QuerySet["Graph"]):
    """Named queries over versions of graphs."""

    def active(self) -> GraphQuerySet:
        """Return the active version of each graph."""
        return self.filter(is_active=True)


class Graph(models.Model):
    """One version of a graph. `graph_id` is what all versions share; `id` is this version's own."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    graph_id = models.UUIDField(default=uuid.uuid4, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="graphs")
    is_active = models.BooleanField(default=True)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    instructions = models.TextField(blank=True)
    recommended_schedule_cron = models.CharField(max_length=200, blank=True)
    forked_from_id = models.UUIDField(null=True, blank=True)
    forked_from_version = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = GraphQuerySet.as_manager()

    class Meta:
        ordering = ("graph_id", "-version")
        constraints = (
            models.UniqueConstraint(fields=["graph_id", "version"], name="one_graph_a_version"),
            models.UniqueConstraint(
                fields=["graph_id"], condition=Q(is_active=True), name="one_active_version_a_graph"
            ),
        )

    def __str__(self) -> str:
        return f"{self.graph_id} v{self.version}"


class Node(models.Model):
    """One use of a block in a graph. A save makes new nodes with new ids."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    graph = models.ForeignKey(Graph, on_delete=models.CASCADE, related_name="nodes")
    position = models.PositiveIntegerField()  # its place in the graph's list
    block_id = models.CharField(max_length=64)  # opaque: some old blocks' ids aren't even hexadecimal
    input_default = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)  # {position: {x, y}, customized_name, credentials_optional}

    class Meta:
        ordering = ("graph", "position")
        constraints = (models.UniqueConstraint(fields=["graph", "position"], name="one_node_a_place"),)

    def __str__(self) -> str:
        return str(self.pk)


class Link(models.Model):
    """A wire from an output pin to an input pin, in the order in which values are routed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    graph = models.ForeignKey(Graph, on_delete=models.CASCADE, related_name="links")
    position = models.PositiveIntegerField()
    source = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="output_links")
    source_name = models.CharField(max_length=300)
    sink = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="input_links")
    sink_name = models.CharField(max_length=300)
    is_static = models.BooleanField(default=False)

    TOOL_PREFIX: ClassVar[str] = "tools_^_"

    class Meta:
        ordering = ("graph", "position")
        constraints = (models.UniqueConstraint(fields=["graph", "position"], name="one_link_a_place"),)

    def __str__(self) -> str:
        return f"{self.source_name} → {self.sink_name}"
