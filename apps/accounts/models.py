"""People and their API tokens."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar
from zoneinfo import available_timezones

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

ABOUT_LIMIT = 4_000  # characters of what people write about themselves


def validate_time_zone(name: str) -> None:
    """Refuse what is no IANA time zone name."""
    if name not in available_timezones():
        raise ValidationError("%(name)s is not a known time zone.", params={"name": name})


class UserManager(BaseUserManager["User"]):
    """Makes people; e-mail addresses are kept in lower case, so that one address is one account."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Store and return a new user; `password=None` makes one that can't sign in by password."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Store and return a new operator with every permission."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        """Find a user by e-mail address, in whatever case it was typed."""
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person, known by e-mail address."""

    class Tier(models.TextChoices):
        """What a person's plan is; spend limits grow with it."""

        FREE = "FREE", "Free"
        PRO = "PRO", "Pro"
        BUSINESS = "BUSINESS", "Business"
        ENTERPRISE = "ENTERPRISE", "Enterprise"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    about = models.TextField(
        blank=True,
        default="",
        validators=[MaxLengthValidator(ABOUT_LIMIT)],
        help_text="What the copilot should know of the person and their business.",
    )
    tier = models.CharField(max_length=16, choices=Tier.choices, default=Tier.FREE)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = (
            models.UniqueConstraint(Lower("email"), name="one_account_an_email"),
            models.CheckConstraint(
                condition=models.Q(tier__in=["FREE", "PRO", "BUSINESS", "ENTERPRISE"]), name="known_tier"
            ),
        )

    def __str__(self) -> str:
        return self.email

    def get_short_name(self) -> str:
        """Return what to call this person in a greeting."""
        return self.name or self.email.partition("@")[0]


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Named queries over tokens."""

    def usable(self) -> ApiTokenQuerySet:
        """Return the tokens that still open the door."""
        return self.filter(revoked_at=None, user__is_active=True)


class ApiToken(models.Model):
    """A key for a program. Only its hash is stored; the key itself is shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, editable=False)
    key_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class LiveSetting(models.Model):
    """A setting of this installation that operators change while it runs; it wins over the environment's."""

    key = models.CharField(max_length=100, primary_key=True, help_text="The setting's name, as in docs/settings.md.")
    value = models.JSONField(help_text="JSON. What the setting can't be is ignored, and the environment counts.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key
