"""`manage.py rotate_credential_keys`: after a key was put before the others in CREDENTIAL_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.library.credentials.rotation import rotate_all


class Command(BaseCommand):
    """Encrypt people's credentials with the newest key."""

    help = (
        "Encrypt the credentials of other services with the newest of CREDENTIAL_KEYS, while everything runs. "
        "Afterwards older keys may be taken out."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it and say how many there were.

        Raises:
            CommandError: When some can't be decrypted with any key; the others were done.
        """
        done = rotate_all()
        self.stdout.write(f"{done.renewed} encrypted anew, {done.current} had the newest key already.")
        if done.lost:
            raise CommandError(f"{done.lost} can't be decrypted with any key; they were left as they are.")
