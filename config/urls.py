"""Every address of the product."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from apps.accounts import views as account_pages
from apps.library.credentials import views as credential_pages
from config import health

handler404 = "config.api.not_found"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="copilot"), name="home"),
    path("copilot/", include("apps.chat.page_urls")),
    path("library/", include("apps.library.page_urls")),
    path("workspace/", include("apps.workspace.page_urls")),
    path("accounts/", include("allauth.urls")),
    path("settings/profile", account_pages.profile, name="profile"),
    path("settings/tokens", account_pages.tokens, name="tokens"),
    path("settings/tokens/<uuid:token_id>/revoke", account_pages.revoke_token, name="token-revoke"),
    path("settings/credentials/connected", credential_pages.connected, name="credential-connected"),
    path("admin/", admin.site.urls),
    path("api/accounts/", include("apps.accounts.urls")),
    path("api/chat/", include("apps.chat.urls")),
    path("api/admin/", include("apps.chat.usage.operator_urls")),
    path("api/library/", include("apps.library.urls")),
    path("api/workspace/", include("apps.workspace.urls")),
    path("api/credits/", include("apps.billing.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="api-docs"),
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
]
