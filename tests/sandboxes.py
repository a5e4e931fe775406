"""Whether sandboxes work where the suite runs."""

from __future__ import annotations

import os

import pytest

from apps.runtime import sandbox


def require_sandbox() -> None:
    """Let a test go on where code can be run; CI fails where it can't, unless the kernel forbids namespaces."""
    reason = sandbox.why_unavailable()
    if not reason:
        return
    if os.environ.get("CI") and sandbox.user_namespaces_work():
        pytest.fail(f"the sandbox can't be used: {reason}")
    pytest.skip(f"nothing was run in a sandbox: {reason}")
