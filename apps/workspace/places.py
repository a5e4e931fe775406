"""Names and paths of files: what they may be, and where in the workspace a file goes."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from uuid import UUID

from apps.workspace.errors import BadPath

SESSIONS = "/sessions/"
NAME_BYTES = 255  # of one part of a path, as file systems have it
PATH_CHARACTERS = 1024
SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file lies.

    Attributes:
        path: Absolute.
        session_id: The session whose folder it is in, if any.
    """

    path: str
    session_id: UUID | None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def base_name(name: str) -> str:
    """Return the last part of a name that somebody's browser sent, whatever its system's separators.

    Raises:
        BadPath: When nothing is left that could be a name.
    """
    last = re.split(r"[/\\]", name)[-1].strip()
    check_part(last)
    return unicodedata.normalize("NFC", last)


def check_part(part: str) -> None:
    """Refuse what can't be a part of a path.

    Raises:
        BadPath: When it is empty, leads elsewhere, is too long or has characters that nobody can see.
    """
    if part in {"", ".", ".."}:
        raise BadPath("A file needs a name, and its path may not lead back.")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in part) or "\\" in part:
        raise BadPath("A path may not have control characters or backslashes.")
    if len(unicodedata.normalize("NFC", part).encode()) > NAME_BYTES:
        raise BadPath(f"A name may have at most {NAME_BYTES} bytes.")


def place_of(path: str, session_id: UUID | None = None) -> Place:
    """Return where a path leads.

    Args:
        path: Absolute or not. In a session it goes below the session's folder, unless it begins with `/sessions/`.
        session_id: The session that the file comes from, if any.

    Returns:
        The place. A file below `/sessions/<id>/` belongs to that session, so its folder is never another's.

    Raises:
        BadPath: When the path can't be used.
    """
    parts = path.removeprefix("/").split("/")
    for part in parts:
        check_part(part)
    whole = unicodedata.normalize("NFC", "/" + "/".join(parts))
    if session_id is not None and not whole.startswith(SESSIONS):
        whole = f"{SESSIONS}{session_id}{whole}"
    if len(whole) > PATH_CHARACTERS:
        raise BadPath(f"A path may have at most {PATH_CHARACTERS} characters.")
    return Place(path=whole, session_id=_session_of(whole))


def _session_of(path: str) -> UUID | None:
    """Return the session whose folder a path is in.

    Raises:
        BadPath: When it is in `/sessions` but in no session's folder.
    """
    if not f"{path}/".startswith(SESSIONS):
        return None
    folder, _, rest = path.removeprefix(SESSIONS).partition("/")
    if not rest or not SESSION_ID.fullmatch(folder):
        raise BadPath("Below /sessions/ a path is /sessions/<session id>/<name>.")
    return UUID(folder)


def numbered(path: str, number: int) -> str:
    """Return another path for a file whose own is taken: `/a/report.pdf` becomes `/a/report (2).pdf`."""
    folder, _, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    mark = f" ({number})"
    room = NAME_BYTES - len((mark + dot + extension).encode())
    if room < 1:
        stem, dot, extension, room = name, "", "", NAME_BYTES - len(mark)
    stem = stem.encode()[:room].decode(errors="ignore").rstrip()
    return f"{folder}/{stem}{mark}{dot}{extension}"
