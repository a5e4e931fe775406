"""Every write and decision about files; other apps call these.

A file comes in three steps: its bytes are looked at and stored (network, no transaction), then its row is written
together with the quota. A blob whose row never came is removed; where a process died in between, `remove_strays` does.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import IO
from uuid import UUID

import structlog
from django.apps import apps
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.runtime.db import db
from apps.runtime.errors import NotFound
from apps.workspace import blobs, quota, scanner
from apps.workspace.errors import PathTaken
from apps.workspace.kinds import kind_of
from apps.workspace.models import File
from apps.workspace.places import Place, numbered, place_of
from apps.workspace.spool import Spool

logger = structlog.get_logger(__name__)

#: How many other names are tried for a file whose own is taken.
MOST_NUMBERS = 100
#: A blob without a row may belong to a file that is just being stored; after this long it doesn't.
STRAY_AFTER = timedelta(hours=1)
STRAYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A file as somebody wants to have it stored.

    Attributes:
        user_id: Whose it will be.
        path: Where it goes; see `places.place_of`.
        session_id: The session that it comes from, if any.
        origin: Who made it: one of `File.Origin`.
        mime_type: What it is said to be; it counts only where neither its bytes nor its name tell.
        overwrite: It takes the place of a file at the same path.
        rename: It gets a number where its path is taken.
    """

    user_id: UUID
    path: str
    session_id: UUID | None = None
    origin: str = File.Origin.UPLOAD
    mime_type: str = ""
    overwrite: bool = False
    rename: bool = False


def store_file(wish: Wish, content: Spool | Iterable[bytes]) -> File:
    """Store a file; for threads.

    Args:
        wish: What and where.
        content: The bytes. A spool stays the caller's to close.

    Returns:
        Its row.

    Raises:
        BadPath: When the path can't be used.
        FileTooLarge: When it is larger than files may be.
        Infected: When the virus scanner found something.
        NotFound: When the person hasn't that session.
        PathTaken: When there is a file at this path, and the wish neither overwrites nor renames.
        QuotaExceeded: When there is no room for it.
        ScannerAway: When the virus scanner gave no verdict.
    """
    if not isinstance(content, Spool):
        with Spool.filled(content) as spool:
            return store_file(wish, spool)
    place = check(wish, content.size_bytes)
    file = put(wish, place, content)
    return keep(wish, file)


async def store_file_async(wish: Wish, content: Spool) -> File:
    """Store a file like `store_file`; for coroutines. No database thread waits for the storage or the scanner.

    A cancelled caller may leave a blob behind, which `remove_strays` finds.
    """
    place = await db(check, wish, content.size_bytes)
    file = await asyncio.to_thread(put, wish, place, content)
    return await db(keep, wish, file)


def check(wish: Wish, size_bytes: int) -> Place:
    """Refuse early what can't be stored, and return where it goes; see `store_file` for what is raised."""
    place = place_of(wish.path, wish.session_id)
    if place.session_id is not None and not has_session(wish.user_id, place.session_id):
        raise NotFound
    if not wish.overwrite:
        quota.check_room(wish.user_id, size_bytes)
    if not wish.overwrite and not wish.rename and _taken(wish.user_id, place.path):
        raise PathTaken(path=place.path)
    return place


def put(wish: Wish, place: Place, spool: Spool) -> File:
    """Have the bytes scanned and stored; returns a row that isn't written yet. No database is touched."""
    scanner.scan(spool)
    file = File(
        id=uuid.uuid4(),
        user_id=wish.user_id,
        name=place.name,
        path=place.path,
        mime_type=kind_of(place.name, spool.first_bytes, wish.mime_type),
        size_bytes=spool.size_bytes,
        sha256=spool.sha256,
        session_id=place.session_id,
        origin=wish.origin,
        created_at=timezone.now(),
    )
    file.storage_name = blobs.save(wish.user_id, file.pk, spool)
    return file


def keep(wish: Wish, file: File) -> File:
    """Write the row of a file whose bytes are stored; they are removed again when it can't be."""
    try:
        return _keep_somewhere(wish, file)
    except BaseException:
        blobs.remove(file.storage_name)
        raise


def _keep_somewhere(wish: Wish, file: File) -> File:
    path = file.path
    for number in range(2, MOST_NUMBERS + 2):
        try:
            with transaction.atomic():
                return _write(wish, file)
        except IntegrityError:
            # Either somebody took the path, or the session went meanwhile.
            if not _taken(file.user_id, file.path):
                raise NotFound from None
            if not wish.rename:
                raise PathTaken(path=file.path) from None
        place = place_of(numbered(path, number))
        file.path, file.name = place.path, place.name
    raise PathTaken(path=path)


def _write(wish: Wish, file: File) -> File:
    """Write the row and count it, in one transaction that nobody else of this person's runs beside."""
    quota.lock(file.user_id)
    earlier = File.objects.of(file.user_id).filter(path=file.path).first() if wish.overwrite else None
    if earlier is not None:
        File.objects.live().filter(pk=earlier.pk).update(deleted_at=timezone.now())
        transaction.on_commit(partial(blobs.remove, earlier.storage_name))
    quota.take(file.user_id, file.size_bytes, freed_bytes=earlier.size_bytes if earlier else 0)
    file.save(force_insert=True)
    return file


def _taken(user_id: UUID, path: str) -> bool:
    return File.objects.of(user_id).filter(path=path).exists()


def has_session(user_id: UUID, session_id: UUID) -> bool:
    """Whether a session is the person's own. Sessions are of a room above; only their table is known here."""
    return apps.get_model("chat", "Session").objects.filter(pk=session_id, user_id=user_id).exists()


def delete_file(*, user_id: UUID, file_id: UUID) -> File:
    """Delete a file. Its quota is given back once, and its bytes go after the commit.

    Raises:
        NotFound: When the person has no such file.
    """
    file = File.objects.of(user_id).filter(pk=file_id).first()
    if file is None:
        raise NotFound
    with transaction.atomic():
        # The workspace before the file, as when storing, so that the two never wait for each other.
        quota.lock(user_id)
        if not File.objects.live().filter(pk=file.pk).update(deleted_at=timezone.now()):
            raise NotFound
        quota.give_back(user_id, file.size_bytes)
        transaction.on_commit(partial(blobs.remove, file.storage_name))
    return file


def open_file(*, user_id: UUID, file_id: UUID) -> tuple[File, IO[bytes]]:
    """Return a person's file and its bytes; the caller closes them.

    Raises:
        BlobGone: When the storage can't give them.
        NotFound: When the person has no such file.
    """
    file = File.objects.of(user_id).filter(pk=file_id).first()
    if file is None:
        raise NotFound
    return file, blobs.read(file.storage_name)


def read_bytes(file: File, *, most: int, offset: int = 0) -> bytes:
    """Return some bytes of a file; touches the storage only.

    Args:
        file: Whose.
        most: How many at most.
        offset: How many to pass over.

    Raises:
        BlobGone: When the storage can't give them.
    """
    with blobs.read(file.storage_name) as content:
        content.seek(offset)
        return content.read(most)


def remove_strays() -> int:
    """Remove blobs that no live file has: of processes that died, deleted accounts, and storages that were away.

    Returns:
        How many were removed.
    """
    removed = 0
    for folder in blobs.folders():
        names = blobs.names_in(folder)
        for start in range(0, len(names), STRAYS_AT_ONCE):
            some = names[start : start + STRAYS_AT_ONCE]
            before = timezone.now() - STRAY_AFTER
            old = [name for name in some if (changed := blobs.changed_at(name)) is not None and changed < before]
            kept = set(File.objects.live().filter(storage_name__in=old).values_list("storage_name", flat=True))
            for name in set(old) - kept:
                blobs.remove(name)
                removed += 1
    if removed:
        logger.info("stray_blobs_removed", count=removed)
    return removed
