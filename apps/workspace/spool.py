"""Bytes on their way in: a temporary file that counts and hashes what is written, so nothing is whole in memory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from types import TracebackType
from typing import IO, Self

from django.conf import settings

from apps.workspace.errors import FileTooLarge
from apps.workspace.kinds import FIRST_BYTES

CHUNK_BYTES = 256 * 1024


class Spool:
    """A nameless temporary file: a process that dies leaves nothing behind. Whoever made it closes it.

    Attributes:
        file: The temporary file.
        size_bytes: How much was written.
        first_bytes: How it begins.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by `close`
        self.limit_bytes: int = settings.WORKSPACE_FILE_LIMIT_BYTES
        self.size_bytes = 0
        self.first_bytes = b""
        self._digest = hashlib.sha256()

    @classmethod
    def filled(cls, chunks: Iterable[bytes]) -> Spool:
        """Return a spool with these bytes.

        Raises:
            FileTooLarge: As soon as they are more than a file may have.
        """
        spool = cls()
        try:
            for chunk in chunks:
                spool.write(chunk)
        except BaseException:
            spool.close()
            raise
        return spool

    def write(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            FileTooLarge: When they are more than a file may have.
        """
        self.size_bytes += len(chunk)
        if self.size_bytes > self.limit_bytes:
            raise FileTooLarge(limit_bytes=self.limit_bytes)
        if len(self.first_bytes) < FIRST_BYTES:
            self.first_bytes = (self.first_bytes + chunk[:FIRST_BYTES])[:FIRST_BYTES]
        self._digest.update(chunk)
        self.file.write(chunk)

    @property
    def sha256(self) -> str:
        """The hash of what was written, in hexadecimal."""
        return self._digest.hexdigest()

    def rewound(self) -> IO[bytes]:
        """Return the file at its beginning."""
        self.file.seek(0)
        return self.file

    def close(self) -> None:
        """Drop the bytes; a second call does nothing."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
