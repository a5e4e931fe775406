"""Encrypting everything that is encrypted anew, with the newest key."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from apps.library.models import Credential, OAuthAttempt, Webhook
from apps.runtime import crypto

logger = structlog.get_logger(__name__)

#: Every column of the library that `apps.runtime.crypto` wrote.
ENCRYPTED = ((Credential, "secret"), (OAuthAttempt, "verifier"), (Webhook, "secret"))


@dataclass(slots=True)
class Rotation:
    """What was done: how many values were encrypted anew, had the newest key already, or can't be opened."""

    renewed: int = 0
    current: int = 0
    lost: int = 0


def rotate_all() -> Rotation:
    """Encrypt everything with the newest key. It may be cut off and repeated, also while people work.

    Returns:
        What was done. Lost values are kept: their key may be found again.
    """
    done = Rotation()
    for model, column in ENCRYPTED:
        rows = model.objects.exclude(**{column: None}).order_by("pk").values_list("pk", column)
        for pk, stored in rows.iterator(chunk_size=500):
            if crypto.is_current(stored):
                done.current += 1
                continue
            try:
                renewed = crypto.reencrypt(stored)
            except crypto.Undecryptable:
                logger.warning("encrypted_value_lost", kind=model.__name__, row=str(pk))
                done.lost += 1
                continue
            # A value that was replaced meanwhile was encrypted with the newest key.
            model.objects.filter(**{"pk": pk, column: bytes(stored)}).update(**{column: renewed})
            done.renewed += 1
    return done
