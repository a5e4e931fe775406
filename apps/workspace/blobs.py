"""What files hold, in the storage that the settings name. Rows decide; a blob without a row is nobody's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any
from uuid import UUID

import structlog
from django.core.files.base import File as Content
from django.core.files.storage import FileSystemStorage, Storage, storages

from apps.workspace.errors import BlobGone
from apps.workspace.spool import Spool

logger = structlog.get_logger(__name__)


def storage() -> Storage:
    """Return the storage of workspace files."""
    return storages["workspace"]


def save(user_id: UUID, file_id: UUID, spool: Spool) -> str:
    """Store what a spool holds; returns the name that the storage gave it. Nothing of it was chosen by a person."""
    return storage().save(f"{user_id}/{file_id}", Content(spool.rewound()))


def read(name: str) -> IO[bytes]:
    """Open a blob; whoever opens it closes it.

    Raises:
        BlobGone: When the storage hasn't it or can't be reached.
    """
    try:
        return storage().open(name, "rb")
    except Exception as error:
        # Every backend has errors of its own.
        logger.warning("blob_unreadable", blob=name, error=type(error).__name__)
        raise BlobGone from error


def remove(name: str) -> None:
    """Remove a blob; one that can't be removed now is found by `strays` later."""
    try:
        storage().delete(name)
    except Exception as error:  # noqa: BLE001 -- every backend has errors of its own
        logger.warning("blob_not_removed", blob=name, error=type(error).__name__)


def signed_url(name: str, *, disposition: str, content_type: str) -> str:
    """Return an address from which the storage itself serves a blob for some minutes; empty where it can't.

    Args:
        name: The blob's.
        disposition: The Content-Disposition that it is served with.
        content_type: The Content-Type that it is served with.
    """
    backend: Any = storage()
    if isinstance(backend, FileSystemStorage):
        return ""
    try:
        if hasattr(backend, "querystring_expire"):  # S3
            url = backend.url(
                name, parameters={"ResponseContentDisposition": disposition, "ResponseContentType": content_type}
            )
        elif hasattr(backend, "expiration"):  # Google Cloud Storage
            url = backend.url(name, parameters={"response_disposition": disposition, "response_type": content_type})
        else:
            url = backend.url(name)
    except Exception as error:  # noqa: BLE001 -- every backend has errors of its own, and we can stream instead
        logger.warning("blob_not_signed", blob=name, error=type(error).__name__)
        return ""
    return url if url.startswith(("https://", "http://")) else ""


def folders() -> Iterator[str]:
    """Yield the top folders of the storage: one for each person who ever had a file."""
    try:
        yield from storage().listdir("")[0]
    except FileNotFoundError:
        return  # nothing was ever stored


def names_in(folder: str) -> list[str]:
    """Return the names of a folder's blobs."""
    return [f"{folder}/{name}" for name in storage().listdir(folder)[1]]


def changed_at(name: str) -> datetime | None:
    """Return when a blob was written; None when it is gone."""
    try:
        return storage().get_modified_time(name)
    except Exception as error:  # noqa: BLE001 -- every backend has errors of its own
        logger.info("blob_without_time", blob=name, error=type(error).__name__)
        return None
