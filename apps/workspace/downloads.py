"""Answers that hold a file: their headers, parts of files, and streams that never have a file whole in memory."""

from __future__ import annotations

import asyncio
import re
from typing import IO
from urllib.parse import quote

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse

from apps.workspace import blobs
from apps.workspace.kinds import INLINE, UNKNOWN
from apps.workspace.models import File
from apps.workspace.spool import CHUNK_BYTES

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox",
    "Cache-Control": "private, no-cache",
}


class Part:
    """Some bytes of an open blob; closing it closes the blob."""

    def __init__(self, content: IO[bytes], start: int, length: int) -> None:
        """Stand at `start`, with `length` bytes to go."""
        self.content = content
        self.left = length
        content.seek(start)

    def read(self) -> bytes:
        """Return the next piece; empty at the end."""
        piece = self.content.read(min(CHUNK_BYTES, self.left))
        self.left -= len(piece)
        return piece

    def close(self) -> None:
        """Close the blob."""
        self.content.close()


class SyncPart(Part):
    """For a server of threads."""

    def __iter__(self) -> SyncPart:
        return self

    def __next__(self) -> bytes:
        if piece := self.read():
            return piece
        raise StopIteration


class AsyncPart(Part):
    """For a server of coroutines, which would read the whole of anything else into memory first."""

    def __aiter__(self) -> AsyncPart:
        return self

    async def __anext__(self) -> bytes:
        if piece := await asyncio.to_thread(self.read):
            return piece
        raise StopAsyncIteration


def content_disposition(name: str, *, inline: bool) -> str:
    """Return the header that tells a browser a file's name.

    Args:
        name: Any text; CR, LF and NUL are left out, quotes are escaped.
        inline: It may be shown in place; otherwise it is saved.
    """
    kind = "inline" if inline else "attachment"
    clean = re.sub(r"[\r\n\0]", "", name)
    plain = re.sub(r"[^\x20-\x7e]", "_", clean)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    header = f'{kind}; filename="{escaped}"'
    if clean != plain:
        header += f"; filename*=UTF-8''{quote(clean, safe='')}"
    return header


def content_type(mime_type: str) -> str:
    """Return the Content-Type of a file."""
    return f"{mime_type}; charset=utf-8" if mime_type.startswith("text/") else mime_type or UNKNOWN


def file_response(request: HttpRequest, file: File) -> HttpResponseBase:
    """Answer with a file: a redirect to where its storage serves it, or else its bytes, or a part of them.

    Args:
        request: Its `Range`, `If-Range` and `If-None-Match` count.
        file: A file that the person may have.

    Raises:
        BlobGone: When the storage can't give it.
    """
    disposition = content_disposition(file.name, inline=file.mime_type in INLINE)
    kind = content_type(file.mime_type)
    etag = f'"{file.sha256}"'
    headers = {**SAFETY, "Content-Disposition": disposition, "ETag": etag, "Accept-Ranges": "bytes"}
    if etag in request.headers.get("If-None-Match", ""):
        return HttpResponse(status=304, headers=headers)
    if url := blobs.signed_url(file.storage_name, disposition=disposition, content_type=kind):
        redirect = HttpResponseRedirect(url, headers={"Cache-Control": "no-store"})
        redirect["Referrer-Policy"] = "no-referrer"
        return redirect
    span = asked_range(request, etag, file.size_bytes)
    if span is not None and not span:
        refusal = HttpResponse(status=416, headers=headers)
        refusal["Content-Range"] = f"bytes */{file.size_bytes}"
        del refusal["Content-Type"]
        return refusal
    wanted = span or range(file.size_bytes)
    part = (AsyncPart if isinstance(request, ASGIRequest) else SyncPart)(
        blobs.read(file.storage_name), wanted.start, len(wanted)
    )
    response = StreamingHttpResponse(part, status=206 if span else 200, content_type=kind, headers=headers)
    response["Content-Length"] = str(len(wanted))
    if span:
        response["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{file.size_bytes}"
    return response


def asked_range(request: HttpRequest, etag: str, size: int) -> range | None:
    """Return the bytes that are asked for: None for all of them, an empty range where the file hasn't them.

    Several ranges at once, and what can't be understood, mean the whole file, as RFC 9110 allows.
    """
    found = RANGE.fullmatch(request.headers.get("Range", "").strip())
    if found is None or request.headers.get("If-Range", etag) != etag or request.method not in {"GET", "HEAD"}:
        return None
    first, last = found.groups()
    if first:
        end = min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
        return range(int(first), end) if int(first) < size else range(0)
    if not last:
        return None
    return range(max(0, size - int(last)), size)
