"""A storage of its own for every test, and a scanner that speaks clamd's protocol."""

from __future__ import annotations

import socketserver
import struct
import threading
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
FILES = "/api/workspace/files"


@pytest.fixture(autouse=True)
def folder(settings, tmp_path) -> Path:
    """Where the files of this test lie."""
    place = tmp_path / "workspace"
    backend = {**settings.STORAGES["workspace"]}
    backend["OPTIONS"] = {**backend["OPTIONS"], "location": place}
    settings.STORAGES = {**settings.STORAGES, "workspace": backend}
    return place


def blobs_in(folder):
    """Return the names of all stored blobs."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def upload(person, content=b"hello", name="hello.txt", kind="text/plain", **query):
    """Upload a file over the API."""
    form = {"file": SimpleUploadedFile(name, content, content_type=kind)}
    return person.client.post(FILES + ("?" + "&".join(f"{k}={v}" for k, v in query.items())), form)


class _Scanning(socketserver.StreamRequestHandler):
    def handle(self):
        command = b""
        while not command.endswith(b"\0"):
            command += self.rfile.read(1)
        assert command == b"zINSTREAM\0"
        content = b""
        while size := struct.unpack("!L", self.rfile.read(4))[0]:
            content += self.rfile.read(size)
            if len(content) > self.server.most:
                self.wfile.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        self.server.seen.append(content)
        self.wfile.write(b"stream: Eicar-Test-Signature FOUND\0" if EICAR in content else b"stream: OK\0")


@pytest.fixture
def clamd(settings):
    """A scanner on a TCP port of this machine; `seen` holds what it was sent."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Scanning)
    server.daemon_threads = True
    server.seen = []
    server.most = 25 * 1024 * 1024
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    settings.CLAMD_URL = f"tcp://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)
