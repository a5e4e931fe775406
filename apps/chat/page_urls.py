"""Addresses of the chat pages."""

from django.urls import path

from apps.chat import views

urlpatterns = [path("", views.copilot, name="copilot")]
