"""The project itself as an app: it owns the commands that see everything (`doctor`, `supervise`)."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """The project's top layer."""

    name = "config"
    label = "project"
