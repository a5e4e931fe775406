"""What kind of file something is. What its first bytes say beats its name: models refuse images that lie."""

from __future__ import annotations

import mimetypes
import re

UNKNOWN = "application/octet-stream"
PNG, JPEG, GIF, WEBP = "image/png", "image/jpeg", "image/gif", "image/webp"
#: Images that models see. A file has one of these types only if its bytes say so.
IMAGES = frozenset({PNG, JPEG, GIF, WEBP})
#: What a browser may show in place; everything else is saved.
INLINE = IMAGES | {"video/mp4", "application/pdf", "text/plain"}
FIRST_BYTES = 16  # as many as `kind_of` looks at
MIME_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
#: Types that carry text although they don't begin with `text/`.
TEXTS = frozenset(
    {
        "application/json",
        "application/javascript",
        "application/sql",
        "application/toml",
        "application/x-httpd-php",
        "application/x-ndjson",
        "application/x-sh",
        "application/x-yaml",
        "application/yaml",
        "application/xml",
        "image/svg+xml",
    }
)
#: Systems' tables of types differ, and none of them has these.
BY_EXTENSION = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "log": "text/plain",
    "md": "text/markdown",
    "mp4": "video/mp4",
    "pdf": "application/pdf",
    "toml": "application/toml",
    "txt": "text/plain",
    "webp": WEBP,
    "yaml": "application/yaml",
    "yml": "application/yaml",
}


def kind_of(name: str, first_bytes: bytes, declared: str = "") -> str:
    """Return a file's MIME type.

    Args:
        name: Its name.
        first_bytes: How it begins, `FIRST_BYTES` of it.
        declared: What whoever sent it says, for names that tell nothing.
    """
    if image := image_kind(first_bytes):
        return image
    guess = BY_EXTENSION.get(name.rpartition(".")[2].lower()) or mimetypes.guess_type(name, strict=True)[0]
    plain = declared.partition(";")[0].strip().lower()
    kind = guess or (plain if MIME_TYPE.fullmatch(plain) else UNKNOWN)
    return UNKNOWN if kind in IMAGES else kind


def image_kind(first_bytes: bytes) -> str:
    """Return the type of an image that models see; empty for everything else."""
    if first_bytes.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if first_bytes.startswith(b"\xff\xd8\xff"):
        return JPEG
    if first_bytes.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if first_bytes[:4] == b"RIFF" and first_bytes[8:12] == b"WEBP":
        return WEBP
    return ""


def is_text(mime_type: str) -> bool:
    """Whether files of this type are read as text."""
    return mime_type.startswith("text/") or mime_type in TEXTS or mime_type.endswith(("+json", "+xml"))
