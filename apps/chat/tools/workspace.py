"""The copilot's tools for the person's files."""

from __future__ import annotations

import asyncio
import base64
import binascii
import codecs
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, Self
from uuid import UUID

from pydantic import Field, model_validator

from apps.chat.tools.base import Tool, ToolArguments, ToolContext, ToolFailure, ToolResult
from apps.runtime.db import db
from apps.runtime.errors import DomainError, NotFound
from apps.workspace import queries, services
from apps.workspace.kinds import IMAGES, UNKNOWN, is_text
from apps.workspace.models import File
from apps.workspace.places import PATH_CHARACTERS, place_of
from apps.workspace.spool import Spool

READ_BYTES = 32 * 1024  # of one read
PREVIEW_CHARACTERS = 200
MOST_LISTED = 100

P = ParamSpec("P")


class WhichFile(ToolArguments):
    """One file, by its id or its path."""

    file_id: UUID | None = Field(None, description="The file's id, as in workspace://<id>.")
    path: str | None = Field(
        None, max_length=PATH_CHARACTERS, description="Or its path; a relative one is in this session's folder."
    )

    @model_validator(mode="after")
    def exactly_one(self) -> Self:
        """Refuse a file without a name, or with two."""
        if (self.file_id is None) == (not self.path):
            raise ValueError("Give either file_id or path.")
        return self


class FileFacts(ToolResult):
    """What is known of a file."""

    file_id: str
    name: str
    path: str
    mime_type: str
    size_bytes: int
    uri: str

    @classmethod
    def of(cls, file: File, **more: Any) -> Self:
        """Return a file's facts and what a tool adds."""
        return cls(
            file_id=str(file.pk),
            name=file.name,
            path=file.path,
            mime_type=file.mime_type,
            size_bytes=file.size_bytes,
            uri=file.uri,
            **more,
        )


def refusing(
    run: Callable[Concatenate[Any, P], Coroutine[Any, Any, ToolResult]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, ToolResult]]:
    """Make a tool's `run` answer with a failure where the workspace refuses."""

    @wraps(run)
    async def guarded(tool: Any, /, *args: P.args, **kwargs: P.kwargs) -> ToolResult:
        try:
            return await run(tool, *args, **kwargs)
        except NotFound:
            return ToolFailure(message="There is no such file of this person.", error="file_not_found")
        except DomainError as error:
            return ToolFailure(message=error.detail, error=error.code, details=error.fields or None)

    return guarded


async def find(arguments: WhichFile, context: ToolContext) -> File:
    """Return the file that is meant.

    Raises:
        BadPath: When the path can't be one.
        NotFound: When the person has no such file.
    """
    if arguments.file_id is not None:
        return await db(queries.file_of, context.user_id, arguments.file_id)
    return await db(queries.file_at, context.user_id, place_of(arguments.path or "", context.session_id).path)


# List -----------------------------------------------------------------------------------------------------------


class ListArguments(ToolArguments):
    """Which files."""

    path_prefix: str = Field("", max_length=PATH_CHARACTERS, description="Only paths that begin with this.")
    limit: int = Field(50, ge=1, le=MOST_LISTED)
    offset: int = Field(0, ge=0, le=1_000_000)
    include_all_sessions: bool = Field(False, description="Also files of other sessions and of no session.")


class FileList(ToolResult):
    """A page of files."""

    type: str = "workspace_file_list"
    files: list[dict[str, Any]]
    total_count: int


class ListWorkspaceFiles(Tool):
    """Lists files."""

    name: ClassVar[str] = "list_workspace_files"
    description: ClassVar[str] = (
        "List files of the user's workspace, newest first: those of this session, or all of them with "
        "include_all_sessions."
    )
    arguments: ClassVar[type[ToolArguments]] = ListArguments
    idempotent: ClassVar[bool] = True

    @refusing
    async def run(self, arguments: ListArguments, context: ToolContext) -> ToolResult:
        """Return a page of files."""
        prefix = arguments.path_prefix
        if not arguments.include_all_sessions and not prefix.startswith("/sessions/"):
            prefix = f"/sessions/{context.session_id}/{prefix.removeprefix('/')}"
        files, total = await db(
            queries.list_files,
            user_id=context.user_id,
            limit=arguments.limit,
            offset=arguments.offset,
            prefix=prefix,
        )
        listed = [
            {
                "file_id": str(file.pk),
                "name": file.name,
                "path": file.path,
                "mime_type": file.mime_type,
                "size_bytes": file.size_bytes,
            }
            for file in files
        ]
        return FileList(message=f"{len(listed)} of {total} files.", files=listed, total_count=total)


# Read -----------------------------------------------------------------------------------------------------------


class ReadArguments(WhichFile):
    """What to read."""

    offset: int = Field(0, ge=0, description="Bytes to pass over: next_offset of the read before.")
    limit: int = Field(READ_BYTES, ge=1, le=READ_BYTES, description="Bytes to read at most.")


class FileContent(FileFacts):
    """A part of a text."""

    type: str = "workspace_file_content"
    content: str
    offset: int
    next_offset: int | None = None


class FileMetadata(FileFacts):
    """A file that can't be read as text."""

    type: str = "workspace_file_metadata"


class ReadWorkspaceFile(Tool):
    """Reads text."""

    name: ClassVar[str] = "read_workspace_file"
    description: ClassVar[str] = (
        "Read a text file of the user's workspace, up to 32 KB at a time; of any other file this tells what it is. "
        "Images that the user attached are shown to you with their message, where you can see images at all."
    )
    arguments: ClassVar[type[ToolArguments]] = ReadArguments
    idempotent: ClassVar[bool] = True

    @refusing
    async def run(self, arguments: ReadArguments, context: ToolContext) -> ToolResult:
        """Return a part of the text."""
        file = await find(arguments, context)
        if file.mime_type in IMAGES or not (is_text(file.mime_type) or file.mime_type == UNKNOWN):
            return self.no_text(file)
        content = await asyncio.to_thread(
            services.read_bytes, file, most=arguments.limit, offset=min(arguments.offset, file.size_bytes)
        )
        if b"\0" in content:
            return self.no_text(file)
        end = arguments.offset + len(content)
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        # A character that the limit cuts in two is left to the next read.
        text = decoder.decode(content, final=end >= file.size_bytes)
        end -= len(decoder.getstate()[0])
        more = end < file.size_bytes and bool(content)
        return FileContent.of(
            file,
            message=f"Bytes {arguments.offset} to {end} of {file.size_bytes}.",
            content=text,
            offset=arguments.offset,
            next_offset=end if more else None,
        )

    def no_text(self, file: File) -> ToolResult:
        """Say what a file is."""
        what = "an image" if file.mime_type in IMAGES else "no text"
        return FileMetadata.of(file, message=f"This file is {what}, so it can't be read here. Share it by its uri.")


# Write ----------------------------------------------------------------------------------------------------------


class WriteArguments(ToolArguments):
    """What to write."""

    filename: str = Field(min_length=1, max_length=255, description="The file's name: 'report.md'.")
    content: str | None = Field(None, description="The text to write.")
    content_base64: str | None = Field(None, description="Or bytes, in base64.")
    path: str | None = Field(
        None, max_length=PATH_CHARACTERS, description="Where, with the name; by default in this session's folder."
    )
    mime_type: str = Field("", max_length=255, description="Its type, where the name doesn't tell.")
    overwrite: bool = Field(False, description="Replace a file that is there.")

    @model_validator(mode="after")
    def exactly_one(self) -> Self:
        """Refuse two contents; an empty text is the content of an empty file only if nothing else is given."""
        if self.content and self.content_base64:
            raise ValueError("Give either content or content_base64.")
        if self.content is None and not self.content_base64:
            raise ValueError("Give content or content_base64.")
        return self

    def data(self) -> bytes:
        """Return the bytes.

        Raises:
            binascii.Error: When they aren't base64.
        """
        if self.content_base64:
            return base64.b64decode(self.content_base64, validate=True)
        return (self.content or "").encode()


class FileWritten(FileFacts):
    """A file that was written."""

    type: str = "workspace_file_written"
    download_url: str
    preview: str


class WriteWorkspaceFile(Tool):
    """Writes a file."""

    name: ClassVar[str] = "write_workspace_file"
    description: ClassVar[str] = (
        "Write a file into the user's workspace: text, or bytes in base64. Link to it in your answer by its "
        "download_url, so that the user can open it."
    )
    arguments: ClassVar[type[ToolArguments]] = WriteArguments

    @refusing
    async def run(self, arguments: WriteArguments, context: ToolContext) -> ToolResult:
        """Store the file."""
        try:
            data = arguments.data()
        except binascii.Error:
            return ToolFailure(message="content_base64 is not valid base64.", error="invalid_base64")
        wish = services.Wish(
            user_id=context.user_id,
            path=arguments.path or arguments.filename,
            session_id=context.session_id,
            origin=File.Origin.COPILOT,
            mime_type=arguments.mime_type,
            overwrite=arguments.overwrite,
        )
        with await asyncio.to_thread(Spool.filled, [data]) as spool:
            if context.dry_run:
                place = await db(services.check, wish, spool.size_bytes)
                return ToolResult(
                    type="workspace_file_written", message=f"Dry run: {place.path} was not really written."
                )
            file = await services.store_file_async(wish, spool)
        text = data[: 4 * PREVIEW_CHARACTERS].decode("utf-8", "replace") if is_text(file.mime_type) else ""
        return FileWritten.of(
            file,
            message=f"Written: {file.path}.",
            download_url=file.uri,
            preview=text[:PREVIEW_CHARACTERS],
        )


# Delete ---------------------------------------------------------------------------------------------------------


class FileDeleted(ToolResult):
    """A file that is gone."""

    type: str = "workspace_file_deleted"
    file_id: str
    success: bool


class DeleteWorkspaceFile(Tool):
    """Deletes a file."""

    name: ClassVar[str] = "delete_workspace_file"
    description: ClassVar[str] = "Delete a file of the user's workspace for good. Only do so when the user wants it."
    arguments: ClassVar[type[ToolArguments]] = WhichFile

    @refusing
    async def run(self, arguments: WhichFile, context: ToolContext) -> ToolResult:
        """Delete the file."""
        file = await find(arguments, context)
        if context.dry_run:
            return FileDeleted(
                message=f"Dry run: {file.path} was not really deleted.", file_id=str(file.pk), success=False
            )
        await db(services.delete_file, user_id=context.user_id, file_id=file.pk)
        return FileDeleted(message=f"Deleted: {file.path}.", file_id=str(file.pk), success=True)


def workspace_tools() -> list[Tool]:
    """Return the tools of this family."""
    return [ListWorkspaceFiles(), ReadWorkspaceFile(), WriteWorkspaceFile(), DeleteWorkspaceFile()]
