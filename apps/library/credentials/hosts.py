"""Which addresses a host-scoped credential may be sent to."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_NAME = re.compile(r"(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_USUAL_PORTS = {"https": 443, "http": 80}


def normal_host(text: str) -> str:
    """Return a host as it is stored: `api.example.com`, `api.example.com:8443`, `[2001:db8::1]` or `*.example.com`.

    Raises:
        ValueError: When it is no host.
    """
    try:
        parts = urlsplit(f"//{text.strip()}")
        name, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        raise ValueError("That is no host name.") from None
    if parts.path or parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError("Give the host alone, without https:// and without a path.")
    if ":" in name:
        try:
            name = f"[{ipaddress.IPv6Address(name)}]"
        except ValueError:
            raise ValueError("That is no host name.") from None
    elif not _NAME.fullmatch(name) or len(name) > 240 or (name.startswith("*.") and name.count(".") < 2):
        raise ValueError("That is no host name.")
    return name if port is None else f"{name}:{port}"


def host_fits(scope: str, url: str) -> bool:
    """Return whether a URL is within a credential's host.

    A host without a port means the usual ones, and one that begins with `*.` every host below it.

    Args:
        scope: A host as `normal_host` returns it.
        url: A full URL.
    """
    try:
        wanted, asked = urlsplit(f"//{scope}"), urlsplit(url)
        host, port = (asked.hostname or "").removesuffix("."), asked.port
        usual = _USUAL_PORTS.get(asked.scheme)
    except ValueError:
        return False
    if not scope or not host or usual is None:
        return False
    if (port or usual) != (wanted.port or usual):
        return False
    name = wanted.hostname or ""
    return host.endswith(name[1:]) if name.startswith("*.") else host == name
