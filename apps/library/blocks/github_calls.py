"""How GitHub's API is called: addresses of what it holds, and its answers."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import Field

from apps.library.api_client import Answer
from apps.library.blocks.base import BlockContext, CredentialsRef, Pins, credentials_field
from apps.library.blocks.service_call import decoded, field, secret_of, service_call, token_of
from apps.library.errors import BlockError

API_URL = "https://api.github.com"
_REPOSITORY: Final = re.compile(
    r"(?:https?://)?(?:www\.)?(?:github\.com/)?([A-Za-z0-9-]{1,39})/([A-Za-z0-9._-]{1,100})/?"
)
_NUMBERED: Final = re.compile(
    r"(?:https?://)?(?:www\.)?github\.com/([A-Za-z0-9-]{1,39})/([A-Za-z0-9._-]{1,100})/(?:issues|pull)/([0-9]{1,10})"
    r"(?:[/?#].*)?"
)


class GithubPins(Pins):
    """What all of these blocks take."""

    credentials: CredentialsRef = credentials_field("github", types=("api_key", "oauth2"))


class RepositoryPins(GithubPins):
    """What is about a repository."""

    repo_url: str = Field(description="The repository's address, or owner/name.")


class IssuePins(GithubPins):
    """What is about an issue."""

    issue_url: str = Field(description="The address of the issue or pull request.")


def repository(url: str) -> str:
    """Return the API's path of a repository.

    Raises:
        BlockError: When that isn't one's address.
    """
    found = _REPOSITORY.fullmatch(url.strip())
    name = found[2].removesuffix(".git") if found else ""
    if found is None or name in {"", ".", ".."}:
        raise BlockError("That is no GitHub repository's address.")
    return f"/repos/{found[1]}/{name}"


def numbered(url: str) -> tuple[str, int]:
    """Return the API's path of a repository, and the number of the issue or pull request in it.

    Raises:
        BlockError: When that isn't one's address.
    """
    found = _NUMBERED.fullmatch(url.strip())
    if found is None:
        raise BlockError("That is no address of a GitHub issue or pull request.")
    return repository(f"{found[1]}/{found[2]}"), int(found[3])


def titled(found: dict[str, Any]) -> dict[str, Any]:
    """Return what lists show of an issue or pull request."""
    return {"title": str(field("GitHub", found, "title")), "url": str(field("GitHub", found, "html_url"))}


async def call(context: BlockContext, method: str, path: str, **options: Any) -> Any:
    """Call GitHub's API and return its decoded answer.

    Raises:
        BlockError: When it refuses or can't be reached.
    """
    return decoded("GitHub", await answer_of(context, method, path, **options))


async def answer_of(
    context: BlockContext, method: str, path: str, *, accept: str = "application/vnd.github+json", **options: Any
) -> Answer:
    """Call GitHub's API.

    Args:
        context: Of the block, which has the credential.
        method: The HTTP method.
        path: The API's path.
        accept: The media type that is wanted.
        options: Of `api_client.call`.

    Raises:
        BlockError: When it refuses or can't be reached.
    """
    headers = {
        "Authorization": f"Bearer {token_of(secret_of(context))}",
        "Accept": accept,
        "X-GitHub-Api-Version": "2022-11-28",
    }
    return await service_call("GitHub", method, f"{API_URL}{path}", headers=headers, **options)
