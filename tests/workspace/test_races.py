"""Files that come and go at once: rows, counter and blobs always agree."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.runtime.db import db
from apps.runtime.errors import NotFound
from apps.workspace import services
from apps.workspace.errors import PathTaken, QuotaExceeded
from apps.workspace.models import File, Workspace
from apps.workspace.services import Wish
from apps.workspace.spool import Spool
from tests.billing.crowds import at_once
from tests.workspace.conftest import blobs_in, upload

pytestmark = pytest.mark.django_db(transaction=True)


def store(person, path, size=10, **wish):
    return services.store_file(Wish(user_id=person.user.pk, path=path, **wish), [b"x" * size])


def outcomes(results):
    return Counter(type(result).__name__ for result in results)


def check_books(person, folder):
    """Check that counter, live rows and blobs agree; returns what the person uses."""
    live = File.objects.of(person.user.pk)
    total = sum(file.size_bytes for file in live)
    assert (Workspace.objects.filter(pk=person.user.pk).values_list("used_bytes", flat=True).first() or 0) == total
    assert blobs_in(folder) == sorted(file.storage_name for file in live)
    return total


def test_two_uploads_of_one_path_are_one_file(owner, folder):
    answers = at_once([partial(upload, owner)] * 2)
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert check_books(owner, folder) == 5


def test_eight_uploads_around_the_quota_never_pass_it(owner, folder, settings):
    settings.WORKSPACE_QUOTA_BYTES = 45
    for attempt in range(3):
        results = at_once([partial(store, owner, f"/{attempt} {number}") for number in range(8)])
        assert check_books(owner, folder) == 40
        if attempt == 0:
            assert outcomes(results) == {"File": 4, "QuotaExceeded": 4}
        else:
            assert outcomes(results) == {"QuotaExceeded": 8}


def test_eight_first_files_at_once_make_one_workspace(owner, folder):
    assert outcomes(at_once([partial(store, owner, f"/{number}") for number in range(8)])) == {"File": 8}
    assert check_books(owner, folder) == 80


def test_names_that_are_numbered_at_once_differ(owner, folder):
    files = at_once([partial(store, owner, "/a.txt", rename=True)] * 6)
    assert sorted(file.path for file in files) == ["/a (2).txt", "/a (3).txt", "/a (4).txt", "/a (5).txt", "/a (6).txt",
                                                   "/a.txt"]  # fmt: skip
    assert check_books(owner, folder) == 60


def test_a_file_that_is_deleted_by_many_is_given_back_once(owner, folder):
    file = store(owner, "/a")
    store(owner, "/b", 7)
    results = at_once([partial(services.delete_file, user_id=owner.user.pk, file_id=file.pk)] * 6)
    assert outcomes(results) == {"File": 1, "NotFound": 5}
    assert check_books(owner, folder) == 7


def test_overwriting_at_once_leaves_one_file(owner, folder, settings):
    settings.WORKSPACE_QUOTA_BYTES = 20
    store(owner, "/a", 20)
    sizes = [1, 5, 9, 13, 17, 20]
    results = at_once([partial(store, owner, "/a", size, overwrite=True) for size in sizes])
    assert outcomes(results) == {"File": 6}
    assert File.objects.of(owner.user.pk).count() == 1
    assert check_books(owner, folder) in sizes


def test_storing_and_deleting_one_path_at_once_ends(owner, folder):
    for _ in range(5):
        file = store(owner, "/a")
        results = at_once(
            [
                partial(store, owner, "/a", overwrite=True),
                partial(services.delete_file, user_id=owner.user.pk, file_id=file.pk),
                partial(store, owner, "/a"),
                partial(store, owner, "/a", rename=True),
            ]
        )
        assert set(outcomes(results)) <= {"File", "NotFound", "PathTaken"}, results
        check_books(owner, folder)
        for left in File.objects.of(owner.user.pk):
            services.delete_file(user_id=owner.user.pk, file_id=left.pk)


def test_overwriting_counts_the_difference_only(owner, folder, settings):
    settings.WORKSPACE_QUOTA_BYTES = 25
    first = store(owner, "/a", 20)
    second = store(owner, "/a", 25, overwrite=True)
    assert (first.pk == second.pk, check_books(owner, folder)) == (False, 25)
    with pytest.raises(QuotaExceeded):
        store(owner, "/a", 26, overwrite=True)
    with pytest.raises(PathTaken):
        store(owner, "/a", 0)
    assert check_books(owner, folder) == 25
    settings.WORKSPACE_QUOTA_BYTES = 10  # made smaller by the operator: what shrinks is still taken
    store(owner, "/a", 15, overwrite=True)
    assert check_books(owner, folder) == 15


def test_a_row_that_can_not_be_written_leaves_no_blob(owner, folder, monkeypatch):
    def lost(*args, **kwargs):
        raise RuntimeError("the database went")

    monkeypatch.setattr(services.quota, "take", lost)
    with pytest.raises(RuntimeError):
        store(owner, "/a")
    assert blobs_in(folder) == []
    assert not File.objects.exists()


def test_a_delete_that_is_rolled_back_keeps_the_blob(owner, folder):
    file = store(owner, "/a")

    def delete_and_fail():
        with transaction.atomic():
            services.delete_file(user_id=owner.user.pk, file_id=file.pk)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        delete_and_fail()
    assert check_books(owner, folder) == 10


def test_a_session_that_goes_meanwhile_is_not_found(owner, folder, monkeypatch):
    from apps.chat.models import Session

    session = Session.objects.create(user=owner.user)
    put = services.put

    def put_and_lose(wish, place, spool):
        file = put(wish, place, spool)
        session.delete()
        return file

    monkeypatch.setattr(services, "put", put_and_lose)
    with pytest.raises(NotFound):
        store(owner, "a", session_id=session.pk)
    assert check_books(owner, folder) == 0


async def test_coroutines_store_files_too(transactional_db, folder):
    from tests.conftest import make_person

    person = await db(make_person, "owner@example.com")
    wish = Wish(user_id=person.user.pk, path="a.txt", origin=File.Origin.COPILOT)
    with Spool.filled([b"he", b"llo"]) as spool:
        file = await services.store_file_async(wish, spool)
    stored, content = await db(services.open_file, user_id=person.user.pk, file_id=file.pk)
    with content:
        assert content.read() == b"hello"
    assert (stored.origin, stored.mime_type, services.read_bytes(stored, most=2, offset=1)) == (
        "copilot", "text/plain", b"el",
    )  # fmt: skip
    with pytest.raises(NotFound):
        await db(services.open_file, user_id=person.user.pk, file_id=person.user.pk)


def test_strays_are_removed_after_an_hour(owner, teammate, folder, monkeypatch):
    kept = store(owner, "/a")
    deleted = store(owner, "/b")
    File.objects.filter(pk=deleted.pk).update(deleted_at=timezone.now())  # its blob could not be removed
    User.objects.filter(pk=teammate.user.pk)
    store(teammate, "/c")
    teammate.user.delete()  # and what belongs to it
    (folder / str(owner.user.pk) / "half").write_bytes(b"of a process that died")
    assert len(blobs_in(folder)) == 4

    assert services.remove_strays() == 0  # they may be on their way
    later = timezone.now() + timedelta(minutes=61)
    monkeypatch.setattr(services.timezone, "now", lambda: later)
    assert services.remove_strays() == 3
    assert blobs_in(folder) == [kept.storage_name]
    assert services.remove_strays() == 0


def test_without_any_file_there_are_no_strays(folder):
    assert services.remove_strays() == 0
