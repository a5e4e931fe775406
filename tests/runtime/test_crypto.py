"""Encryption at rest: keys, their replacement, and what can't be opened."""

from __future__ import annotations

from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from apps.library.models import Credential, OAuthAttempt, Webhook
from apps.runtime import crypto

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


def use(settings, *keys, secret="first"):  # noqa: S107
    settings.CREDENTIAL_KEYS = list(keys)
    settings.SECRET_KEY = secret


def changed(token):
    return token[:-5] + bytes([token[-5] ^ 1]) + token[-4:]


@pytest.mark.parametrize("keys", [(), (OLD,), (NEW, OLD)])
@pytest.mark.parametrize("data", [b"", b"key", bytes(range(256)) * 50])
def test_what_was_encrypted_comes_back_and_can_not_be_read(settings, keys, data):
    use(settings, *keys)
    token = crypto.encrypt(data)
    assert crypto.decrypt(token) == crypto.decrypt(memoryview(token)) == data
    assert not data or data not in token
    assert crypto.encrypt(data) != token


def test_old_keys_decrypt_until_they_are_taken_out(settings):
    use(settings, OLD)
    token = crypto.encrypt(b"x")
    use(settings, NEW, OLD)
    assert crypto.decrypt(token) == b"x"
    assert not crypto.is_current(token)
    renewed = crypto.reencrypt(token)
    assert crypto.is_current(renewed)
    use(settings, NEW)
    assert crypto.decrypt(renewed) == b"x"
    with pytest.raises(crypto.Undecryptable):
        crypto.decrypt(token)


def test_what_was_made_without_keys_survives_that_keys_are_set(settings):
    use(settings)
    token = crypto.encrypt(b"x")
    use(settings, NEW)
    assert crypto.decrypt(token) == b"x"
    assert not crypto.is_current(token)


def test_a_replaced_secret_key_decrypts_while_it_is_a_fallback(settings):
    use(settings, secret="the first")
    token = crypto.encrypt(b"x")
    use(settings, secret="the second")
    with pytest.raises(crypto.Undecryptable):
        crypto.decrypt(token)
    settings.SECRET_KEY_FALLBACKS = ["the first"]
    assert crypto.decrypt(token) == b"x"


@pytest.mark.parametrize("spoil", [changed, lambda token: token[:20], lambda token: b"", lambda token: b"\xff\x00"])
def test_what_was_changed_is_not_opened(settings, spoil):
    use(settings, OLD)
    with pytest.raises(crypto.Undecryptable):
        crypto.decrypt(spoil(crypto.encrypt(b"some secret")))


# The command --------------------------------------------------------------------------------------------------


def store_one_of_each(person, data):
    key = Credential.objects.create(
        user=person.user, provider="github", type="api_key", title="mine", secret=crypto.encrypt(data)
    )
    attempt = OAuthAttempt.objects.create(
        state_hash="0" * 64,
        user=person.user,
        provider="github",
        verifier=crypto.encrypt(data),
        expires_at="2030-01-01T00:00:00Z",
    )
    return key, attempt


def rotate():
    out = StringIO()
    call_command("rotate_credential_keys", stdout=out)
    return out.getvalue()


def test_rotating_leaves_nothing_that_needs_the_old_key(settings, owner):
    use(settings, OLD)
    key, attempt = store_one_of_each(owner, b"data")
    use(settings, NEW, OLD)

    assert "2 encrypted anew, 0 had the newest key" in rotate()
    assert "0 encrypted anew, 2 had the newest key" in rotate()

    use(settings, NEW, secret="another")
    key.refresh_from_db()
    attempt.refresh_from_db()
    assert crypto.decrypt(key.secret) == crypto.decrypt(attempt.verifier) == b"data"


def test_what_can_not_be_opened_is_told_and_kept(settings, owner):
    use(settings, OTHER)
    lost, _ = store_one_of_each(owner, b"lost")
    use(settings, OLD, secret="another")
    Credential.objects.create(
        user=owner.user, provider="x", type="api_key", title="y", secret=(mine := crypto.encrypt(b"kept"))
    )
    use(settings, NEW, OLD, secret="another")

    with pytest.raises(CommandError, match="2 can't be decrypted"):
        rotate()

    before = bytes(lost.secret)
    lost.refresh_from_db()
    assert bytes(lost.secret) == before
    kept = Credential.objects.get(provider="x")
    assert bytes(kept.secret) != mine
    use(settings, NEW, secret="another")
    assert crypto.decrypt(kept.secret) == b"kept"


def test_every_encrypted_column_is_rotated():
    """A binary column that nobody rotates would lose its content with the old key."""
    from django.apps import apps
    from django.db.models import BinaryField

    from apps.library.credentials.rotation import ENCRYPTED

    binary = {
        (model, field.name)
        for model in apps.get_app_config("library").get_models()
        for field in model._meta.get_fields()
        if isinstance(field, BinaryField)
    }
    assert binary == set(ENCRYPTED)
    assert (Webhook, "secret") in binary
