"""Running a person's code in a sandbox: languages, and what comes of it."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from apps.library.errors import BlockError
from apps.runtime import sandbox, sandbox_folder
from apps.runtime.sandbox import SandboxResult, SandboxUnavailable, run_sandboxed

MAX_SECONDS: Final = 600
MAX_CODE_BYTES: Final = 1024 * 1024
MAX_RESULT_BYTES: Final = 1024 * 1024
MAX_FILES_BYTES: Final = 5 * 1024 * 1024
MAX_ERROR_CHARS: Final = 4_000
MEMORY_BYTES: Final = 1024 * 1024 * 1024
#: Files of ours in the working directory begin so; they are nobody's result.
OURS: Final = ".fd-"
_HERE: Final = Path(__file__).parent
_SHELL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Language(StrEnum):
    """What code may be written in; the last two have no interpreter here and say so."""

    PYTHON = "python"
    JAVASCRIPT = "js"
    BASH = "bash"
    R = "r"
    JAVA = "java"


_PROGRAMS: Final[Mapping[Language, str]] = {
    Language.PYTHON: "python3",
    Language.JAVASCRIPT: "node",
    Language.BASH: "bash",
}
_RUNNERS: Final[Mapping[Language, str]] = {
    Language.PYTHON: "runner_python.py",
    Language.JAVASCRIPT: "runner_node.cjs",
}
_ENDED: Final[Mapping[str, str]] = {
    "time": "It took too long and was ended.",
    "output": "It wrote more than is taken and was ended.",
    "disk": "It wrote more files than there is room for and was ended.",
    "memory": "It used more memory than there is and was ended.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeResult:
    """What came of some code.

    Attributes:
        shown: The value of its last expression in the ways that it can be shown: `text` and others; None without one.
        stdout: What it wrote.
        stderr: What it wrote of errors.
        failure: Why it failed, for people; empty where it didn't.
        files: What it made or changed.
    """

    shown: dict[str, Any] | None
    stdout: str
    stderr: str
    failure: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


def check_language(language: Language) -> None:
    """Refuse a language that has no interpreter here.

    Raises:
        BlockError: When it hasn't.
    """
    program = _PROGRAMS.get(language)
    if program is None or shutil.which(program, path=sandbox.PROGRAMS) is None:
        raise BlockError(f"Code in {language.value} can't be run on this installation.")


async def run_commands(workdir: Path, commands: Sequence[str], *, deadline: float) -> None:
    """Run shell commands in a working directory, one after the other.

    Args:
        workdir: Where.
        commands: For bash.
        deadline: When they must be done, by `time.monotonic()`.

    Raises:
        BlockError: When one fails.
    """
    for number, command in enumerate(commands, start=1):
        done = await _run(["bash", "-c", command], workdir, deadline=deadline)
        if done.ended_by or done.exit_code:
            raise BlockError(f"Setup command {number} failed. {_why(done)}")


async def run_code(
    workdir: Path,
    code: str,
    *,
    language: Language,
    deadline: float,
    variables: Mapping[str, Any] | None = None,
    keep: bool = False,
) -> CodeResult:
    """Run code in a working directory.

    Args:
        workdir: Where; files stay there.
        code: What.
        language: What it is written in.
        deadline: When it must be done, by `time.monotonic()`.
        variables: What it finds defined; bash finds texts in its environment.
        keep: Whether what Python defines is there for the next code in this directory.

    Raises:
        BlockError: When nothing can be run.
    """
    check_language(language)
    if len(code.encode()) > MAX_CODE_BYTES:
        raise BlockError("The code is too long.")
    if not code.strip():
        return CodeResult(shown=None, stdout="", stderr="")
    given = dict(variables or {})
    files = {f"{OURS}code": code.encode(), f"{OURS}variables": json.dumps(given).encode(), f"{OURS}result": b""}
    if language == Language.BASH:
        files[f"{OURS}variables"] = _exports(given).encode()
        # Names that bash keeps for itself, such as UID, are passed over in silence.
        command = ["bash", "-c", f". ./{OURS}variables 2>/dev/null; exec bash {OURS}code"]
    else:
        runner = _RUNNERS[language]
        files[f"{OURS}{runner}"] = await asyncio.to_thread((_HERE / runner).read_bytes)
        command = [_PROGRAMS[language], f"{OURS}{runner}", *(["keep"] if keep else [])]
    done = await _run(
        command,
        workdir,
        deadline=deadline,
        files=files,
        # V8 reserves many gigabytes that it doesn't use.
        bound_address_space=language != Language.JAVASCRIPT,
        collect_bytes=MAX_FILES_BYTES,
    )
    shown = await asyncio.to_thread(_shown, workdir)
    if language == Language.BASH and done.stdout.strip():
        shown = {"text": done.stdout.strip()}
    return CodeResult(
        shown=shown,
        stdout=_storable(done.stdout),
        stderr=_storable(done.stderr),
        failure=_why(done) if done.ended_by or done.exit_code else "",
        files={path: content for path, content in done.files.items() if not path.startswith(OURS)},
    )


async def _run(command: Sequence[str], workdir: Path, *, deadline: float, **options: Any) -> SandboxResult:
    left = deadline - time.monotonic()
    if left <= 0:
        raise BlockError(_ENDED["time"])
    try:
        return await run_sandboxed(command, workdir=workdir, timeout_seconds=left, memory_bytes=MEMORY_BYTES, **options)
    except SandboxUnavailable as error:
        raise BlockError(f"Code can't be run on this installation. {error}") from None
    except ValueError as error:
        raise BlockError(str(error)) from None


def _why(done: SandboxResult) -> str:
    if done.ended_by:
        return _ENDED[done.ended_by]
    said = _storable(done.stderr.strip()[-MAX_ERROR_CHARS:])
    return said or f"It ended with exit code {done.exit_code}."


def _shown(workdir: Path) -> dict[str, Any] | None:
    """Return what a runner wrote; the person's code may have written something else there."""
    raw = sandbox_folder.read(workdir, f"{OURS}result", max_bytes=MAX_RESULT_BYTES)
    try:
        found = json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return None
    return _clean(found) if isinstance(found, dict) and isinstance(found.get("text"), str) else None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, dict):
        return {_storable(name): _clean(item) for name, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _storable(text: str) -> str:
    """Return a text as PostgreSQL can keep it: without NUL characters and halves of characters."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _exports(variables: Mapping[str, Any]) -> str:
    """Return variables as lines of bash; those that it can't name are left out."""
    named = {name: _storable(_as_text(value)) for name, value in variables.items() if _SHELL_NAME.fullmatch(name)}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in named.items())


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
