"""What operators see of accounts."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.http import HttpRequest

from apps.accounts.models import ApiToken, LiveSetting, User


class UserCreationForm(AdminUserCreationForm):
    """Makes a user by e-mail address."""

    class Meta:
        model = User
        fields = ("email",)
        field_classes: ClassVar[dict[str, type[forms.Field]]] = {"email": forms.EmailField}


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    """People."""

    add_form = UserCreationForm
    ordering = ("email",)
    list_display = ("email", "name", "tier", "is_staff", "is_active", "date_joined")
    list_filter = ("tier", "is_staff", "is_active")
    search_fields = ("email", "name")
    readonly_fields = ("date_joined", "last_login")
    fieldsets = (
        (None, {"fields": ("email", "password", "name", "time_zone", "about", "tier")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "usable_password", "password1", "password2")}),)


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """Keys of programs; they are made by their owners."""

    list_display = ("name", "user", "prefix", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__email", "prefix")
    raw_id_fields = ("user",)
    readonly_fields = ("prefix", "created_at", "last_used_at", "revoked_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: a key is shown to its owner only."""
        return False


class LiveSettingForm(forms.ModelForm):
    """Offers what can be set, and refuses a value that would be ignored."""

    key = forms.ChoiceField(label="Setting", help_text="docs/settings.md says what each is.")
    value = forms.IntegerField(
        min_value=0, help_text="A whole number. It counts at once, instead of the environment's."
    )

    class Meta:
        model = LiveSetting
        fields = ("key", "value")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """List the settings, each with what it is without an operator's word."""
        super().__init__(*args, **kwargs)
        if "key" in self.fields:  # not when a stored one is changed
            key = self.fields["key"]
            assert isinstance(key, forms.ChoiceField)
            key.choices = [(name, f"{name} (else {getattr(settings, name)})") for name in settings.LIVE_SETTINGS]


@admin.register(LiveSetting)
class LiveSettingAdmin(admin.ModelAdmin):
    """Settings that are changed while the product runs."""

    form = LiveSettingForm
    list_display = ("key", "value", "updated_at")
    search_fields = ("key",)

    def get_readonly_fields(self, request: HttpRequest, obj: LiveSetting | None = None) -> tuple[str, ...]:
        """Return what can't be changed: the name, once it is stored, as another name is another setting."""
        return ("updated_at",) if obj is None else ("key", "updated_at")
