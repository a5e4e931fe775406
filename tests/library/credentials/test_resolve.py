"""What a block is given: decrypted, of the right person and kind, and refreshed once however many need it."""

from __future__ import annotations

import asyncio
import io
import logging
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from apps.library.credentials import refresh
from apps.library.credentials.resolve import resolve_secret
from apps.library.credentials.services import create_credential, opened
from apps.library.errors import CredentialUnusable
from apps.library.models import Credential
from apps.runtime.db import db
from apps.runtime.errors import Unavailable

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(transactional_db):
    from tests.conftest import make_person

    return make_person("owner@example.com")


@pytest.fixture
def teammate(transactional_db):
    from tests.conftest import make_person

    return make_person("teammate@example.com")


def store(person, **more):
    given = {"provider": "openai", "type": "api_key", "title": "t", "values": {"api_key": "k"}, **more}
    return create_credential(user_id=person.user.pk, **given)


def store_tokens(person, provider, *, life_seconds, refresh_token="refresh-first"):  # noqa: S107
    provider.refresh_tokens.add("refresh-first")
    values = {"access_token": "access-first"}
    if refresh_token:
        values["refresh_token"] = refresh_token
    return store(
        person,
        provider="github",
        type="oauth2",
        values=values,
        scopes=("repo",),
        expires_at=datetime.now(UTC) + timedelta(seconds=life_seconds),
    )


async def test_a_block_gets_what_it_holds(owner):
    row = await db(store, owner)
    secret = await resolve_secret(owner.user.pk, row.pk, provider=("openai", "groq"), types=("api_key",))
    assert (secret.provider, secret.type, secret.values) == ("openai", "api_key", {"api_key": "k"})
    assert "'k'" not in repr(secret)
    used = (await db(Credential.objects.get)).last_used_at
    assert abs(used - datetime.now(UTC)) < timedelta(seconds=30)
    await resolve_secret(owner.user.pk, row.pk, provider="openai")
    assert (await db(Credential.objects.get)).last_used_at == used  # not written at every use


async def test_what_does_not_fit_is_refused(owner, teammate):
    row = await db(store, owner)
    for user_id, credential_id, wants in (
        (teammate.user.pk, row.pk, {}),
        (owner.user.pk, uuid.uuid4(), {}),
        (owner.user.pk, row.pk, {"provider": "github"}),
        (owner.user.pk, row.pk, {"types": ("oauth2",)}),
    ):
        with pytest.raises(CredentialUnusable):
            await resolve_secret(user_id, credential_id, **wants)


async def test_a_host_scoped_one_is_for_its_host(owner):
    row = await db(
        store, owner, provider="http", type="host_scoped", host="api.example.com", values={"headers": {"X": "v"}}
    )
    secret = await resolve_secret(owner.user.pk, row.pk, host="https://api.example.com/x")
    assert (secret.host, secret.values) == ("api.example.com", {"headers": {"X": "v"}})
    with pytest.raises(CredentialUnusable):
        await resolve_secret(owner.user.pk, row.pk, host="https://evil.example.com/x")


async def test_what_can_not_be_decrypted_says_so(owner, settings):
    row = await db(store, owner)
    settings.SECRET_KEY = "another"
    with pytest.raises(CredentialUnusable, match="decrypted"):
        await resolve_secret(owner.user.pk, row.pk)


async def test_scopes_are_looked_at(owner, provider):
    row = await db(store_tokens, owner, provider, life_seconds=3600)
    assert (await resolve_secret(owner.user.pk, row.pk, scopes=("repo",))).values == {"access_token": "access-first"}
    with pytest.raises(CredentialUnusable, match="allow"):
        await resolve_secret(owner.user.pk, row.pk, scopes=("repo", "admin"))


# Refreshing -----------------------------------------------------------------------------------------------------


async def test_a_token_that_lasts_is_left_alone(owner, provider):
    row = await db(store_tokens, owner, provider, life_seconds=3600)
    await resolve_secret(owner.user.pk, row.pk)
    assert provider.refreshes == 0


@pytest.mark.parametrize("life_seconds", [60, -60])
async def test_a_token_is_refreshed_before_and_after_its_end(owner, provider, life_seconds):
    row = await db(store_tokens, owner, provider, life_seconds=life_seconds)
    secret = await resolve_secret(owner.user.pk, row.pk)
    stored = await db(Credential.objects.get)
    tokens = opened(stored.secret)
    assert secret.values == {"access_token": tokens["access_token"]}
    assert tokens["access_token"] != "access-first"
    assert tokens["refresh_token"] in provider.refresh_tokens
    assert stored.expires_at > datetime.now(UTC) + timedelta(minutes=50)
    assert (provider.refreshes, stored.version) == (1, 2)


async def test_eight_at_once_refresh_once(owner, provider):
    """A refresh token works once: the second one to use it would lose the account."""
    row = await db(store_tokens, owner, provider, life_seconds=-60)
    provider.pause_seconds = 0.3
    secrets = await asyncio.gather(*(resolve_secret(owner.user.pk, row.pk) for _ in range(8)))
    assert provider.refreshes == 1
    assert len(provider.asked("POST", "/token")) == 1
    assert len({secret.values["access_token"] for secret in secrets}) == 1
    assert secrets[0].values["access_token"] != "access-first"


async def test_while_one_refreshes_the_others_use_the_old_token(owner, provider):
    row = await db(store_tokens, owner, provider, life_seconds=60)
    provider.pause_seconds = 0.5
    secrets = await asyncio.gather(*(resolve_secret(owner.user.pk, row.pk) for _ in range(8)))
    assert provider.refreshes == 1
    assert [secret.values["access_token"] for secret in secrets].count("access-first") == 7


async def test_who_is_cancelled_while_refreshing_keeps_the_new_token(owner, provider):
    row = await db(store_tokens, owner, provider, life_seconds=-60)
    provider.pause_seconds = 0.5
    asking = asyncio.ensure_future(resolve_secret(owner.user.pk, row.pk))
    while not provider.requests:
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    stored = await db(Credential.objects.get)
    assert opened(stored.secret)["refresh_token"] in provider.refresh_tokens
    assert stored.version == 2


async def test_one_that_was_killed_while_refreshing_is_taken_over(owner, provider, monkeypatch):
    monkeypatch.setattr(refresh, "CLAIM_SECONDS", 0.3)
    row = await db(store_tokens, owner, provider, life_seconds=-60)
    await db(Credential.objects.filter(pk=row.pk).update, version=1)
    secrets = await asyncio.gather(*(resolve_secret(owner.user.pk, row.pk) for _ in range(4)))
    assert provider.refreshes == 1
    assert len({secret.values["access_token"] for secret in secrets}) == 1
    assert (await db(Credential.objects.get)).version == 4


@pytest.mark.parametrize(("life_seconds", "usable"), [(60, True), (-60, False)])
@pytest.mark.parametrize("failure", [(500, {}), (200, b"<html>"), (429, {"error": "slow_down"})])
async def test_a_provider_that_is_away_costs_only_what_has_ended(owner, provider, failure, life_seconds, usable):
    row = await db(store_tokens, owner, provider, life_seconds=life_seconds)
    provider.failure = failure
    if usable:
        assert (await resolve_secret(owner.user.pk, row.pk)).values == {"access_token": "access-first"}
    else:
        with pytest.raises(Unavailable):
            await resolve_secret(owner.user.pk, row.pk)
    assert (await db(Credential.objects.get)).version % 2 == 0  # the next one may try
    provider.failure = None
    assert (await resolve_secret(owner.user.pk, row.pk)).values != {"access_token": "access-first"}


async def test_a_grant_that_was_taken_back_must_be_given_again(owner, provider):
    row = await db(store_tokens, owner, provider, life_seconds=-60)
    provider.refresh_tokens.clear()
    with pytest.raises(CredentialUnusable, match="connect the service again"):
        await resolve_secret(owner.user.pk, row.pk)
    assert (await db(Credential.objects.get)).version % 2 == 0


async def test_eight_that_find_it_taken_back_ask_once(owner, provider):
    row = await db(store_tokens, owner, provider, life_seconds=-60)
    provider.refresh_tokens.clear()
    provider.pause_seconds = 0.3
    answers = await asyncio.gather(*(resolve_secret(owner.user.pk, row.pk) for _ in range(8)), return_exceptions=True)
    assert all(isinstance(answer, CredentialUnusable | Unavailable) for answer in answers)
    assert len(provider.asked("POST", "/token")) == 1


async def test_a_token_without_a_refresh_token_ends(owner, provider):
    lasting = await db(store_tokens, owner, provider, life_seconds=60, refresh_token="")
    assert (await resolve_secret(owner.user.pk, lasting.pk)).values == {"access_token": "access-first"}
    ended = await db(store_tokens, owner, provider, life_seconds=-1, refresh_token="")
    with pytest.raises(CredentialUnusable):
        await resolve_secret(owner.user.pk, ended.pk)
    assert not provider.requests


async def test_a_new_connection_wins_over_a_refresh_that_is_going_on(owner, provider):
    row = await db(store_tokens, owner, provider, life_seconds=-60)
    provider.pause_seconds = 0.4
    asking = asyncio.ensure_future(resolve_secret(owner.user.pk, row.pk))
    while not provider.requests:
        await asyncio.sleep(0.01)
    await db(Credential.objects.filter(pk=row.pk).update, version=2, provider="changed")
    await asking
    stored = await db(Credential.objects.get)
    assert opened(stored.secret)["access_token"] == "access-first"  # what was stored meanwhile stays
    assert stored.version == 2


async def test_nothing_of_a_refresh_is_logged(owner, provider):
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    logging.getLogger().addHandler(handler)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        row = await db(store_tokens, owner, provider, life_seconds=-60)
        await resolve_secret(owner.user.pk, row.pk)
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(level)
    assert "credential_refreshed" in lines.getvalue()
    for secret in ("access-", "refresh-", "our-client-secret"):
        assert secret not in lines.getvalue()
