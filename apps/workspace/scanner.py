"""Has ClamAV look at files before they are kept, over clamd's own protocol.

The protocol is a dozen lines; the client libraries for it send in pieces of 1 KiB and lose bytes on a slow socket.
"""

from __future__ import annotations

import socket
import struct
from typing import IO
from urllib.parse import urlsplit

import structlog
from django.conf import settings

from apps.workspace.errors import Infected, ScannerAway
from apps.workspace.spool import CHUNK_BYTES, Spool

logger = structlog.get_logger(__name__)

PORT = 3310
#: How long clamd may take for each single step, in seconds.
STEP_SECONDS = 60.0
LONGEST_REPLY = 4096


def scan(spool: Spool) -> None:
    """Let a file pass that the scanner finds clean; every file where no scanner is set.

    Raises:
        Infected: When the scanner found something.
        ScannerAway: When it gave no verdict, unless the settings let files pass then.
    """
    if not settings.CLAMD_URL or not spool.size_bytes:
        return
    try:
        verdict = ask(spool.rewound())
    except OSError as error:
        verdict = ""
        logger.warning("scanner_away", error=type(error).__name__)
    if verdict.endswith(" FOUND"):
        logger.warning("infected_upload", sha256=spool.sha256)
        raise Infected
    if verdict == "stream: OK":
        return
    if verdict:
        logger.warning("scanner_refused", verdict=verdict[:200])
    if not settings.CLAMD_FAIL_OPEN:
        raise ScannerAway


def ask(file: IO[bytes]) -> str:
    """Send a file to clamd and return its verdict, such as `stream: OK`.

    Raises:
        OSError: When clamd can't be reached or takes too long.
    """
    with _connected() as connection:
        connection.sendall(b"zINSTREAM\0")
        try:
            while chunk := file.read(CHUNK_BYTES):
                connection.sendall(struct.pack("!L", len(chunk)) + chunk)
            connection.sendall(struct.pack("!L", 0))
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has heard enough, and says why
        reply = b""
        while len(reply) < LONGEST_REPLY and not reply.endswith(b"\0"):
            part = connection.recv(LONGEST_REPLY)
            if not part:
                break
            reply += part
    return reply.rstrip(b"\0\n").decode("utf-8", "replace") or "no answer"


def _connected() -> socket.socket:
    url = urlsplit(settings.CLAMD_URL)
    if url.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(STEP_SECONDS)
            connection.connect(url.path)
        except BaseException:
            connection.close()
            raise
        return connection
    return socket.create_connection((url.hostname or "127.0.0.1", url.port or PORT), timeout=STEP_SECONDS)
