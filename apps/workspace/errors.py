"""What can go wrong with files."""

from __future__ import annotations

from apps.runtime.errors import Conflict, DomainError, Invalid, Unavailable


class TooLarge(DomainError):
    """There is no room for this."""

    code = "too_large"


class FileTooLarge(TooLarge):
    """This file is larger than files may be."""

    code = "file_too_large"

    def __init__(self, *, limit_bytes: int) -> None:
        """Tell the limit.

        Args:
            limit_bytes: The largest file that is taken.
        """
        super().__init__(f"A file may have at most {limit_bytes} bytes.", limit_bytes=limit_bytes)


class QuotaExceeded(TooLarge):
    """Your workspace has no room for this file."""

    code = "quota_exceeded"

    def __init__(self, *, size_bytes: int, used_bytes: int, limit_bytes: int) -> None:
        """Tell the numbers.

        Args:
            size_bytes: What the file needs.
            used_bytes: What the person's files take up.
            limit_bytes: What they may take up.
        """
        sentence = (
            f"Your workspace has no room for this file: it needs {size_bytes} bytes, and {used_bytes} of "
            f"{limit_bytes} bytes are taken."
        )
        super().__init__(sentence, size_bytes=size_bytes, used_bytes=used_bytes, limit_bytes=limit_bytes)


class PathTaken(Conflict):
    """There is a file at this path already."""

    code = "path_taken"


class BadPath(Invalid):
    """This can't be the name or path of a file."""

    code = "bad_path"


class BadUpload(Invalid):
    """Send exactly one file, as the field `file` of a multipart form."""

    code = "bad_upload"


class Infected(Invalid):
    """The virus scanner found something in this file; it was not kept."""

    code = "infected"


class ScannerAway(Unavailable):
    """The virus scanner can't be asked right now, so nothing was kept; try again shortly."""

    code = "scanner_away"


class BlobGone(Unavailable):
    """What this file holds can't be read right now; try again shortly."""

    code = "blob_gone"
