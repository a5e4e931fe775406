"""Blocks that run people's code, in a sandbox or not at all."""

from __future__ import annotations

import base64
import mimetypes
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from pydantic import Field

from apps.library.blocks.base import (
    Block,
    BlockContext,
    Category,
    CredentialsRef,
    Pins,
    credentials_field,
)
from apps.library.errors import BlockError
from apps.library.sandboxes import kept
from apps.library.sandboxes.code import MAX_SECONDS, CodeResult, Language, check_language, run_code, run_commands
from apps.runtime.sandbox import make_workdir, remove_workdir

#: The code's own time limit comes first; this is for what is around it.
BLOCK_SECONDS = MAX_SECONDS + 60.0


class _Outcome(Pins):
    """What code leaves."""

    response: str = Field(description="The result as text.")
    stdout_logs: str = Field(description="What it wrote.")
    stderr_logs: str = Field(description="What it wrote of errors.")


class _Results(_Outcome):
    """What code leaves, with its result."""

    main_result: dict[str, Any] = Field(description="The value of the last expression: text and other forms.")
    results: list[dict[str, Any]] = Field(description="All values that were shown.")
    files: list[dict[str, Any]] = Field(description="Files that were made or changed, with their content as data URI.")


class ExecuteCode(Block["ExecuteCode.Input"]):
    """Runs code once."""

    id = "0b02b072-abe7-11ef-8372-fb5d162dd712"
    name = "Execute Code"
    description = "Runs code in a sandbox without network."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    timeout_seconds = BLOCK_SECONDS

    class Input(Pins):
        """Its input pins."""

        credentials: CredentialsRef | None = credentials_field("e2b", optional=True)
        setup_commands: list[str] = Field(default=[], description="Shell commands to run first.")
        code: str = Field(default="", description="What to run.")
        language: Language = Field(default=Language.PYTHON, description="What it is written in.")
        timeout: int = Field(default=300, description="Seconds that it may take.")
        template_id: str = Field(default="", description="Of other sandboxes; not used here.")
        dispose_sandbox: bool = Field(default=True, description="Of other sandboxes; here each run has its own.")
        variables: dict[str, Any] = Field(default={}, description="Variables that the code finds.")

    class Output(_Results):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Run it."""
        check_language(inputs.language)
        deadline = _deadline(inputs.timeout)
        workdir = make_workdir()
        try:
            await run_commands(workdir, inputs.setup_commands, deadline=deadline)
            result = await run_code(
                workdir, inputs.code, language=inputs.language, deadline=deadline, variables=inputs.variables
            )
        finally:
            await remove_workdir(workdir)
        for pair in _pairs(result):
            yield pair


class InstantiateCodeSandbox(Block["InstantiateCodeSandbox.Input"]):
    """Makes a sandbox for several steps."""

    id = "ff0861c9-1726-4aec-9e5b-bf53f3622112"
    name = "Instantiate Code Sandbox"
    description = "Makes a sandbox whose files, and whose variables in Python, are there for later steps of code."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    timeout_seconds = BLOCK_SECONDS

    class Input(Pins):
        """Its input pins."""

        credentials: CredentialsRef | None = credentials_field("e2b", optional=True)
        setup_commands: list[str] = Field(default=[], description="Shell commands to run first.")
        setup_code: str = Field(default="", description="Code to run first.")
        language: Language = Field(default=Language.PYTHON, description="What it is written in.")
        timeout: int = Field(default=300, description="Seconds that it may take.")
        template_id: str = Field(default="", description="Of other sandboxes; not used here.")

    class Output(_Outcome):
        """Its output pins."""

        sandbox_id: str = Field(description="What later steps name it by.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Make it and run the setup."""
        check_language(inputs.language)
        deadline = _deadline(inputs.timeout)
        sandbox_id = await kept.make(context.user_id)
        is_ready = False
        try:
            workdir = kept.find(context.user_id, sandbox_id)
            await run_commands(workdir, inputs.setup_commands, deadline=deadline)
            result = await run_code(workdir, inputs.setup_code, language=inputs.language, deadline=deadline, keep=True)
            is_ready = not result.failure
        finally:
            if not is_ready:
                await kept.remove(context.user_id, sandbox_id)
        if result.failure:
            raise BlockError(result.failure)
        yield "sandbox_id", sandbox_id
        yield "response", (result.shown or {}).get("text", "")
        yield "stdout_logs", result.stdout
        yield "stderr_logs", result.stderr


class ExecuteCodeStep(Block["ExecuteCodeStep.Input"]):
    """Runs a step of code in a sandbox that was made before."""

    id = "82b59b8e-ea10-4d57-9161-8b169b0adba6"
    name = "Execute Code Step"
    description = "Runs code in a sandbox that an earlier step made."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    timeout_seconds = BLOCK_SECONDS

    class Input(Pins):
        """Its input pins."""

        credentials: CredentialsRef | None = credentials_field("e2b", optional=True)
        sandbox_id: str = Field(description="The sandbox, as the step that made it says.")
        step_code: str = Field(default="", description="What to run.")
        language: Language = Field(default=Language.PYTHON, description="What it is written in.")

    class Output(_Results):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Run it."""
        deadline = _deadline(MAX_SECONDS)
        async with kept.in_use(context.user_id, inputs.sandbox_id) as workdir:
            result = await run_code(workdir, inputs.step_code, language=inputs.language, deadline=deadline, keep=True)
        for pair in _pairs(result):
            yield pair


def _deadline(seconds: int) -> float:
    return time.monotonic() + min(max(seconds, 1), MAX_SECONDS)


def _pairs(result: CodeResult) -> list[tuple[str, Any]]:
    """Return the outputs of code that worked.

    Raises:
        BlockError: When it failed; its words are in the error.
    """
    if result.failure:
        raise BlockError(result.failure)
    found: list[tuple[str, Any]] = []
    if result.shown is not None:
        found += [("main_result", result.shown), ("results", [result.shown]), ("response", result.shown["text"])]
    found += [("stdout_logs", result.stdout), ("stderr_logs", result.stderr)]
    if result.files:
        found.append(("files", [_file(path, content) for path, content in result.files.items()]))
    return found


def _file(path: str, content: bytes) -> Mapping[str, Any]:
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    data = base64.b64encode(content).decode()
    return {
        "path": path,
        "name": path.rpartition("/")[2],
        "mime_type": kind,
        "size": len(content),
        "content": f"data:{kind};base64,{data}",
    }
