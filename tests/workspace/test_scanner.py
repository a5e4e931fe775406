"""The virus scanner, over clamd's own protocol."""

from __future__ import annotations

import os
import socket

import pytest

from apps.workspace.models import File, Workspace
from tests.services import free_port
from tests.workspace.conftest import EICAR, blobs_in, upload


def test_a_clean_file_is_seen_whole_and_kept(owner, clamd, folder):
    content = os.urandom(1_500_000)
    assert upload(owner, content).status_code == 201
    assert clamd.seen == [content]
    assert len(blobs_in(folder)) == 1


def test_an_infected_file_is_refused_and_leaves_nothing(owner, clamd, folder):
    answer = upload(owner, b"x" * 300_000 + EICAR)
    assert (answer.status_code, answer.json()["code"]) == (400, "infected")
    assert len(clamd.seen) == 1
    assert blobs_in(folder) == []
    assert not File.objects.exists()
    assert not Workspace.objects.filter(used_bytes__gt=0).exists()


def test_an_empty_file_needs_no_scan(owner, clamd):
    assert upload(owner, b"").status_code == 201
    assert clamd.seen == []


@pytest.fixture(params=["nobody", "silent", "too long"])
def useless(request, settings):
    """A scanner that gives no verdict."""
    if request.param == "nobody":
        settings.CLAMD_URL = f"tcp://127.0.0.1:{free_port()}"
        yield
        return
    if request.param == "too long":
        request.getfixturevalue("clamd").most = 100
        yield
        return
    request.getfixturevalue("monkeypatch").setattr("apps.workspace.scanner.STEP_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.CLAMD_URL = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        yield


def test_without_a_verdict_nothing_is_kept(owner, useless, folder):
    answer = upload(owner, b"x" * 1000)
    assert (answer.status_code, answer.json()["code"]) == (503, "scanner_away")
    assert "Retry-After" in answer
    assert blobs_in(folder) == []


def test_unless_the_settings_let_it_pass(owner, useless, settings, folder):
    settings.CLAMD_FAIL_OPEN = True
    assert upload(owner, b"x" * 1000).status_code == 201
    assert len(blobs_in(folder)) == 1


def test_what_was_found_is_refused_even_then(owner, clamd, settings):
    settings.CLAMD_FAIL_OPEN = True
    assert upload(owner, EICAR).status_code == 400


def test_a_scanner_may_listen_on_a_unix_socket(owner, settings, tmp_path):
    import socketserver
    import threading

    from tests.workspace.conftest import _Scanning

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        most = 1000
        seen = []

    path = str(tmp_path / "clamd.sock")
    with Server(path, _Scanning) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        settings.CLAMD_URL = f"unix://{path}"
        assert upload(owner, EICAR).status_code == 400
        assert upload(owner, b"fine").status_code == 201
        server.shutdown()
