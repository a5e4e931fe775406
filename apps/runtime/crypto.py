"""Encryption at rest: what a row must hold and nobody must read in it.

Keys are those of CREDENTIAL_KEYS, the newest first: it encrypts, all of them decrypt. Without any, one key is made of
SECRET_KEY; it goes on decrypting when keys are set later, so that `manage.py rotate_credential_keys` can replace it.
"""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_PURPOSE = b"flightdeck credentials at rest"
_KEY_BYTES = 32


class Undecryptable(Exception):
    """None of the keys opens this: it was changed, or encrypted with a key that isn't set any more."""


def encrypt(data: bytes) -> bytes:
    """Encrypt with the newest key; what comes out is also proof against changes."""
    return _keys()[0].encrypt(data)


def decrypt(token: bytes | memoryview) -> bytes:
    """Return what was encrypted.

    Raises:
        Undecryptable: When no key opens it.
    """
    try:
        return MultiFernet(_keys()).decrypt(bytes(token))
    except InvalidToken:
        raise Undecryptable from None  # the library's error tells no more


def is_current(token: bytes | memoryview) -> bool:
    """Return whether this was encrypted with the newest key."""
    try:
        _keys()[0].decrypt(bytes(token))
    except InvalidToken:
        return False
    return True


def reencrypt(token: bytes | memoryview) -> bytes:
    """Return the same encrypted with the newest key.

    Raises:
        Undecryptable: When no key opens it.
    """
    return encrypt(decrypt(token))


def _keys() -> list[Fernet]:
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return _fernets(tuple(settings.CREDENTIAL_KEYS), secrets)


@lru_cache(maxsize=4)  # deriving takes longer than decrypting; tests change the settings
def _fernets(keys: tuple[str, ...], secrets: tuple[str, ...]) -> list[Fernet]:
    derived = [base64.urlsafe_b64encode(_derive(secret)) for secret in secrets]
    return [*map(Fernet, keys), *map(Fernet, derived)]


def _derive(secret: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_PURPOSE).derive(secret.encode())
