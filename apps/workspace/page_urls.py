"""Addresses of the workspace's pages."""

from django.urls import path

from apps.workspace import views

urlpatterns = [
    path("", views.workspace, name="workspace"),
    path("<uuid:file_id>/delete", views.delete, name="workspace-delete"),
]
