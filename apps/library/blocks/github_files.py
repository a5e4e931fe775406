"""Blocks for files of GitHub repositories."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import quote

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.blocks.github_calls import RepositoryPins, answer_of, call, repository
from apps.library.blocks.service_call import field
from apps.library.errors import BlockError

RAW_TYPE: Final = "application/vnd.github.raw+json"


class FilePins(RepositoryPins):
    """What is about a file."""

    file_path: str = Field(min_length=1, max_length=1000, description="Its path in the repository.")
    branch: str = Field(default="", description="The branch; by default the repository's own.")


class GithubReadFile(Block["GithubReadFile.Input"]):
    """Reads a file."""

    id = "3d8ced3d-3948-4bb7-8900-106f8ab6e392"
    name = "Github Read File"
    description = "Reads a file of a GitHub repository."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    is_idempotent = True

    class Input(FilePins):
        """Its input pins."""

    class Output(Pins):
        """Its output pins."""

        text_content: str = Field(description="What it holds, where that is text.")
        raw_content: str = Field(description="What it holds, in base64.")
        size: int = Field(description="Its size in bytes.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Read it."""
        ref = {"ref": inputs.branch} if inputs.branch else None
        found = await call(context, "GET", contents(inputs), params=ref)
        if not isinstance(found, dict) or found.get("type") != "file":
            raise BlockError("There is no file at this path.")
        if found.get("encoding") == "none":  # larger than 1 MB: only given by itself
            answer = await answer_of(context, "GET", contents(inputs), accept=RAW_TYPE, params=ref)
            content = answer.body
        else:
            try:
                content = base64.b64decode(str(field("GitHub", found, "content")))
            except binascii.Error:
                raise BlockError("GitHub's answer can't be understood.") from None
        yield "raw_content", base64.b64encode(content).decode()
        if (text := _text(content)) is not None:
            yield "text_content", text
        yield "size", len(content)


class WrittenPins(Pins):
    """A file that was written."""

    url: str = Field(description="Its address.")
    sha: str = Field(description="The commit.")


class GithubCreateFile(Block["GithubCreateFile.Input"]):
    """Makes a file."""

    id = "5af9ca7d-92cc-43f3-891e-d0a3dc4988e5"
    name = "Github Create File"
    description = "Makes a new file in a GitHub repository."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    is_sensitive_action = True

    class Input(FilePins):
        """Its input pins."""

        content: str = Field(description="What it is to hold.")
        commit_message: str = Field(default="Create new file", description="What the commit says.")

    class Output(WrittenPins):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Make it; GitHub refuses where there is one."""
        for pair in await _written(context, inputs, inputs.content, inputs.commit_message, sha=None):
            yield pair


class GithubUpdateFile(Block["GithubUpdateFile.Input"]):
    """Changes a file."""

    id = "9c0abc29-1928-4216-a27c-44f43903c831"
    name = "Github Update File"
    description = "Replaces what a file of a GitHub repository holds."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    is_sensitive_action = True

    class Input(FilePins):
        """Its input pins."""

        content: str = Field(description="What it is to hold.")
        commit_message: str = Field(default="Update file", description="What the commit says.")

    class Output(WrittenPins):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Change it; GitHub refuses where somebody else did so meanwhile."""
        found = await call(context, "GET", contents(inputs), params={"ref": inputs.branch} if inputs.branch else None)
        sha = str(field("GitHub", found, "sha"))
        for pair in await _written(context, inputs, inputs.content, inputs.commit_message, sha=sha):
            yield pair


def contents(inputs: FilePins) -> str:
    """Return the API's path of a file.

    Raises:
        BlockError: When its path leads elsewhere.
    """
    parts = inputs.file_path.strip("/").split("/")
    if {"", ".", ".."} & set(parts):
        raise BlockError("The file's path can't be used.")
    return f"{repository(inputs.repo_url)}/contents/{'/'.join(quote(part, safe='') for part in parts)}"


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


async def _written(
    context: BlockContext, inputs: FilePins, content: str, message: str, *, sha: str | None
) -> list[tuple[str, Any]]:
    data: dict[str, Any] = {"message": message, "content": base64.b64encode(content.encode()).decode()}
    data |= {"branch": inputs.branch} if inputs.branch else {}
    data |= {"sha": sha} if sha else {}
    made = await call(context, "PUT", contents(inputs), data=data)
    return [
        ("url", str(field("GitHub", made, "content", "html_url"))),
        ("sha", str(field("GitHub", made, "commit", "sha"))),
    ]
