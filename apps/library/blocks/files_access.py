"""Files that blocks take and make: data URIs, URLs behind the address guard, and files of the person's workspace.

All that blocks know of the workspace is here, in `_read_whole` and `keep_file`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib
import mimetypes
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from uuid import UUID

from pydantic import Field

from apps.library.blocks.base import BlockContext
from apps.library.errors import BlockError
from apps.runtime import netguard
from apps.runtime.db import db
from apps.runtime.errors import DomainError, NotFound

#: The pin of a file: a URL, a data URI or `workspace://<id>`.
FilePin = Annotated[str, Field(json_schema_extra={"format": "file"})]

MAX_FILE_BYTES: Final = 10 * 1024 * 1024
FETCH_LIMIT_SECONDS: Final = 60.0
WORKSPACE: Final = "workspace://"
PLAIN_TYPE: Final = "application/octet-stream"
_BASE64_MARK: Final = ";base64"
_NOT_IN_NAMES: Final = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """A file that was read.

    Attributes:
        name: Its name without folders.
        mime_type: Its media type without parameters.
        content: What it holds.
    """

    name: str
    mime_type: str
    content: bytes

    @property
    def data_uri(self) -> str:
        """Return all of it as a data URI."""
        return f"data:{self.mime_type};base64,{base64.b64encode(self.content).decode()}"


def is_kept(reference: str) -> bool:
    """Say whether a reference names a file of a workspace."""
    return reference.startswith(WORKSPACE)


def is_at_hand(reference: str) -> bool:
    """Say whether a file can be read without asking another machine for it."""
    reference = reference.strip()
    return is_kept(reference) or reference[:5].lower() == "data:"


async def read_file(
    reference: str, *, context: BlockContext, max_bytes: int = MAX_FILE_BYTES, allow: Collection[str] = ()
) -> FileContent:
    """Read a file.

    Args:
        reference: A URL, a data URI or `workspace://<id>`, also with `#<media type>`.
        context: Whose workspace it may be in.
        max_bytes: Larger files are refused.
        allow: `host:port` pairs that may be fetched from although they aren't public; for tests.

    Raises:
        BlockError: There is no such file, it is too large, or it may not be fetched.
    """
    reference = reference.strip()
    if is_kept(reference):
        found = await _from_workspace(reference, context, max_bytes)
    elif is_at_hand(reference):
        found = _from_data_uri(reference, max_bytes)
    else:
        found = await _from_url(reference, max_bytes, allow)
    if len(found.content) > max_bytes:
        raise _too_large(max_bytes)
    return found


async def keep_file(file: FileContent, *, context: BlockContext) -> str:
    """Store a file in the workspace of the run's owner and return its `workspace://<id>`.

    Raises:
        BlockError: It can't be stored.
    """
    workspace = _workspace()
    wish = workspace.Wish(
        user_id=context.user_id,
        path=f"/runs/{context.execution_id}/{_NOT_IN_NAMES.sub('_', file.name).strip('. ') or 'file'}",
        origin="execution",
        mime_type=file.mime_type,
        rename=True,
    )
    try:
        spool = await asyncio.to_thread(workspace.Spool.filled, [file.content])
        with spool:
            kept = await workspace.store_file_async(wish, spool)
    except DomainError as error:
        raise BlockError(f"The file can't be kept. {error.detail}") from None
    return kept.uri


async def _from_workspace(reference: str, context: BlockContext, max_bytes: int) -> FileContent:
    try:
        return await db(_read_whole, context.user_id, _workspace_id(reference), max_bytes)
    except NotFound:
        raise BlockError("There is no such file in the workspace.") from None
    except DomainError as error:
        raise BlockError(f"The file can't be read. {error.detail}") from None


def _read_whole(user_id: UUID, file_id: UUID, max_bytes: int) -> FileContent:
    """Read a file of a workspace in one call, so that a caller who is cancelled leaves nothing open."""
    file, stream = _workspace().open_file(user_id=user_id, file_id=file_id)
    with stream:
        return FileContent(name=file.name, mime_type=file.mime_type or PLAIN_TYPE, content=stream.read(max_bytes + 1))


def _workspace() -> Any:
    """Return the services of the workspace; imported when first used, because blocks are loaded before its models."""
    return importlib.import_module("apps.workspace.services")


def _workspace_id(reference: str) -> UUID:
    try:
        return UUID(reference.removeprefix(WORKSPACE).partition("#")[0])
    except ValueError:
        raise BlockError("That isn't the name of a file in the workspace.") from None


def _from_data_uri(uri: str, max_bytes: int) -> FileContent:
    head, comma, data = uri[5:].partition(",")
    if not comma:
        raise BlockError("That isn't a whole data URI.")
    mime_type = head.partition(";")[0].strip().lower() or "text/plain"
    if not re.fullmatch(r"[\w.+-]{1,100}/[\w.+-]{1,100}", mime_type):
        raise BlockError("The data URI names no media type.")
    if len(data) > max_bytes * 3:  # even when every byte is written as %XX
        raise _too_large(max_bytes)
    try:
        if head.lower().endswith(_BASE64_MARK):
            content = base64.b64decode("".join(unquote(data).split()), validate=True)
        else:
            content = unquote_to_bytes(data)
    except (binascii.Error, ValueError):
        raise BlockError("The data URI holds no valid base64.") from None
    return FileContent(name=f"file{_extension(mime_type)}", mime_type=mime_type, content=content)


async def _from_url(url: str, max_bytes: int, allow: Collection[str]) -> FileContent:
    try:
        page = await netguard.fetch(url, max_bytes=max_bytes, timeout_seconds=FETCH_LIMIT_SECONDS, allow=allow)
    except netguard.AddressRefused as refused:
        raise BlockError(f"This file can't be fetched. {refused}") from None
    except netguard.FetchFailed as failed:
        raise BlockError(f"The file can't be fetched. {failed}") from None
    if page.status_code >= 400:
        raise BlockError(f"The file can't be fetched: the server answered {page.status_code}.")
    mime_type = page.content_type or PLAIN_TYPE
    name = PurePosixPath(unquote(urlsplit(page.url).path)).name
    return FileContent(name=name[-60:] or f"file{_extension(mime_type)}", mime_type=mime_type, content=page.body)


def _extension(mime_type: str) -> str:
    return mimetypes.guess_extension(mime_type) or ""


def _too_large(max_bytes: int) -> BlockError:
    return BlockError(f"The file is larger than {max_bytes / (1024 * 1024):g} MB.")
