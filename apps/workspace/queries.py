"""Reads of files, for pages, APIs and the apps above."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from apps.runtime.errors import NotFound
from apps.workspace.models import File
from apps.workspace.quota import Usage, usage_of

__all__ = ["Usage", "file_at", "file_of", "files_by_ids", "list_files", "usage_of"]


def list_files(
    *, user_id: UUID, limit: int, offset: int, session_id: UUID | None = None, prefix: str = ""
) -> tuple[list[File], int]:
    """Return a page of a person's files, newest first, and how many there are.

    Args:
        user_id: Whose.
        limit: Rows a page.
        offset: Rows to pass over.
        session_id: Only files of this session.
        prefix: Only files whose path begins with this.
    """
    files = File.objects.of(user_id)
    if session_id is not None:
        files = files.filter(session_id=session_id)
    if prefix:
        files = files.filter(path__startswith=prefix)
    return list(files[offset : offset + limit]), files.count()


def file_of(user_id: UUID, file_id: UUID) -> File:
    """Return a person's live file.

    Raises:
        NotFound: When the person has no such file.
    """
    file = File.objects.of(user_id).filter(pk=file_id).first()
    if file is None:
        raise NotFound
    return file


def file_at(user_id: UUID, path: str) -> File:
    """Return the live file at a path.

    Raises:
        NotFound: When the person has none there.
    """
    file = File.objects.of(user_id).filter(path=path).first()
    if file is None:
        raise NotFound
    return file


def files_by_ids(user_id: UUID, file_ids: Iterable[UUID], *, deleted_too: bool = False) -> dict[UUID, File]:
    """Return a person's files by their ids; ids that are unknown or somebody else's are left out.

    Args:
        user_id: Whose.
        file_ids: Which.
        deleted_too: Deleted ones as well, whose rows still tell their names.
    """
    files = File.objects.filter(user_id=user_id) if deleted_too else File.objects.of(user_id)
    return files.in_bulk(list(file_ids))
