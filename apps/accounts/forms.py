"""Forms about one's own account."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django import forms

from apps.accounts.models import ABOUT_LIMIT, User


class ProfileForm(forms.Form):
    """What people tell of themselves."""

    name = forms.CharField(max_length=150, required=False)
    time_zone = forms.ChoiceField(error_messages={"invalid_choice": "This time zone isn't known here."})
    about = forms.CharField(max_length=ABOUT_LIMIT, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer the zones that this machine knows today."""
        super().__init__(*args, **kwargs)
        zone = self.fields["time_zone"]
        assert isinstance(zone, forms.ChoiceField)
        zone.choices = [(name, name.replace("_", " ")) for name in sorted(available_timezones())]

    @classmethod
    def of(cls, user: User) -> ProfileForm:
        """Return the form as it begins: with what is stored."""
        return cls(initial={"name": user.name, "time_zone": user.time_zone, "about": user.about})
