"""What a node may put out: JSON that every database takes, of a bounded size."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pydantic_core import to_jsonable_python

from apps.library.errors import BlockError

#: One value may be this large, as JSON.
MOST_BYTES = 8 * 1024 * 1024
#: What no JSON column takes: NUL characters, lone surrogates and floats without end, as Python's JSON spells them.
_SUSPICIOUS = re.compile(r"\\u0000|\\u[dD][89a-fA-F]|Infinity|NaN")


def storable(value: Any) -> Any:
    """Return a value as rows hold it and as it is routed, alike before and after a crash.

    Infinity and not-a-number become the texts that Python reads back as such.

    Raises:
        BlockError: When it is no JSON, or too large.
    """
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    try:
        plain = _plain(value)
    except ValueError:
        plain = _plain(_clean(value))  # pydantic refuses lone surrogates
    text = json.dumps(plain)
    if len(text) > MOST_BYTES:
        raise BlockError(f"A value is larger than {MOST_BYTES // 1024 // 1024} MiB; store it as a file instead.")
    return _clean(plain) if _SUSPICIOUS.search(text) else plain


def storable_text(text: str) -> str:
    """Return a text as rows hold it."""
    return str(_clean(text))


def _plain(value: Any) -> Any:
    try:
        return to_jsonable_python(value, fallback=str)
    except (TypeError, RecursionError) as error:
        raise BlockError(f"A {type(value).__name__} can't be handed on: it is no JSON.") from error


def size_of(value: Any) -> int:
    """Return the size of a JSON value in bytes, as costs by size count it."""
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
