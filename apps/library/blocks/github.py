"""Blocks for GitHub's issues and pull requests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.blocks.github_calls import (
    GithubPins,
    IssuePins,
    RepositoryPins,
    answer_of,
    call,
    numbered,
    repository,
    titled,
)
from apps.library.blocks.service_call import field, number, objects

MAX_CHANGES_CHARS: Final = 1_000_000
#: Pages of issues are at least this long, and no more of them are looked through.
LEAST_PAGE: Final = 30
MOST_PAGES: Final = 10


class State(StrEnum):
    """Which issues are listed."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


class MadePins(Pins):
    """Something new with a number."""

    number: int = Field(description="Its number.")
    url: str = Field(description="Its address.")


class GithubMakeIssue(Block["GithubMakeIssue.Input"]):
    """Makes an issue."""

    id = "691dad47-f494-44c3-a1e8-05b7990f2dab"
    name = "Github Make Issue"
    description = "Makes an issue in a GitHub repository."
    categories = frozenset({Category.DEVELOPER_TOOLS, Category.ISSUE_TRACKING})
    is_sensitive_action = True

    class Input(RepositoryPins):
        """Its input pins."""

        title: str = Field(description="Its title.")
        body: str = Field(description="What it says.")

    class Output(MadePins):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Make it."""
        data = {"title": inputs.title, "body": inputs.body}
        made = await call(context, "POST", f"{repository(inputs.repo_url)}/issues", data=data)
        yield "number", number("GitHub", made, "number")
        yield "url", str(field("GitHub", made, "html_url"))


class GithubReadIssue(Block["GithubReadIssue.Input"]):
    """Reads an issue."""

    id = "6443c75d-032a-4772-9c08-230c707c8acc"
    name = "Github Read Issue"
    description = "Reads a GitHub issue."
    categories = frozenset({Category.DEVELOPER_TOOLS, Category.ISSUE_TRACKING})
    is_idempotent = True

    class Input(IssuePins):
        """Its input pins."""

    class Output(Pins):
        """Its output pins."""

        title: str = Field(description="Its title.")
        body: str = Field(description="What it says.")
        user: str = Field(description="Who made it.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Read it."""
        found = await call(context, "GET", "{}/issues/{}".format(*numbered(inputs.issue_url)))
        yield "title", str(field("GitHub", found, "title"))
        yield "body", str(found.get("body") or "")
        yield "user", str(field("GitHub", found, "user", "login"))


class GithubListIssues(Block["GithubListIssues.Input"]):
    """Lists issues."""

    id = "c215bfd7-0e57-4573-8f8c-f7d4963dcd74"
    name = "Github List Issues"
    description = "Lists issues of a GitHub repository."
    categories = frozenset({Category.DEVELOPER_TOOLS, Category.ISSUE_TRACKING})
    is_idempotent = True

    class Input(RepositoryPins):
        """Its input pins."""

        state: State = Field(default=State.OPEN, description="Which ones.")
        labels: list[str] = Field(default=[], description="Only those with all of these labels.")
        limit: int = Field(default=30, ge=1, le=100, description="How many at most.")
        assignee: str = Field(default="", description="Only those of this person.")
        creator: str = Field(default="", description="Only those that this person made.")
        since: str = Field(default="", description="Only those changed since this ISO 8601 time.")
        sort: str = Field(default="created", description="By created, updated or comments.")
        direction: str = Field(default="desc", description="asc or desc.")

    class Output(Pins):
        """Its output pins."""

        issue: dict[str, Any] = Field(description="Each of them: title and url.")
        issues: list[dict[str, Any]] = Field(description="All of them.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """List them."""
        size = max(inputs.limit, LEAST_PAGE)
        asked = {
            "state": inputs.state.value,
            "labels": ",".join(inputs.labels),
            "assignee": inputs.assignee,
            "creator": inputs.creator,
            "since": inputs.since,
            "sort": inputs.sort,
            "direction": inputs.direction,
            "per_page": str(size),
        }
        params = {name: value for name, value in asked.items() if value}
        place = f"{repository(inputs.repo_url)}/issues"
        issues: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            found = objects("GitHub", await call(context, "GET", place, params={**params, "page": str(page)}))
            issues += [titled(one) for one in found if "pull_request" not in one]  # GitHub lists both
            if len(found) < size or len(issues) >= inputs.limit:
                break
        shown = issues[: inputs.limit]
        for issue in shown:
            yield "issue", issue
        yield "issues", shown


class GithubComment(Block["GithubComment.Input"]):
    """Comments on an issue."""

    id = "a8db4d8d-db1c-4a25-a1b0-416a8c33602b"
    name = "Github Comment"
    description = "Comments on a GitHub issue or pull request."
    categories = frozenset({Category.DEVELOPER_TOOLS, Category.ISSUE_TRACKING})
    is_sensitive_action = True

    class Input(IssuePins):
        """Its input pins."""

        comment: str = Field(description="What to say.")

    class Output(Pins):
        """Its output pins."""

        id: int = Field(description="The comment's id.")
        url: str = Field(description="Its address.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Say it."""
        place = "{}/issues/{}/comments".format(*numbered(inputs.issue_url))
        made = await call(context, "POST", place, data={"body": inputs.comment})
        yield "id", number("GitHub", made, "id")
        yield "url", str(field("GitHub", made, "html_url"))


class GithubAddLabel(Block["GithubAddLabel.Input"]):
    """Labels an issue."""

    id = "98bd6b77-9506-43d5-b669-6b9733c4b1f1"
    name = "Github Add Label"
    description = "Adds a label to a GitHub issue or pull request."
    categories = frozenset({Category.DEVELOPER_TOOLS, Category.ISSUE_TRACKING})
    is_sensitive_action = True
    is_idempotent = True

    class Input(IssuePins):
        """Its input pins."""

        label: str = Field(description="The label's name.")

    class Output(Pins):
        """Its output pins."""

        status: str = Field(description="That it was added.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Add it."""
        place = "{}/issues/{}/labels".format(*numbered(inputs.issue_url))
        await call(context, "POST", place, data={"labels": [inputs.label]})
        yield "status", "Label added successfully"


class GithubListPullRequests(Block["GithubListPullRequests.Input"]):
    """Lists pull requests."""

    id = "ffef3c4c-6cd0-48dd-817d-459f975219f4"
    name = "Github List Pull Requests"
    description = "Lists the open pull requests of a GitHub repository."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    is_idempotent = True

    class Input(RepositoryPins):
        """Its input pins."""

    class Output(Pins):
        """Its output pins."""

        pull_request: dict[str, Any] = Field(description="Each of them: title and url.")
        pull_requests: list[dict[str, Any]] = Field(description="All of them.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """List them."""
        found = await call(context, "GET", f"{repository(inputs.repo_url)}/pulls", params={"per_page": "100"})
        listed = [titled(one) for one in objects("GitHub", found)]
        for one in listed:
            yield "pull_request", one
        yield "pull_requests", listed


class GithubMakePullRequest(Block["GithubMakePullRequest.Input"]):
    """Makes a pull request."""

    id = "dfb987f8-f197-4b2e-bf19-111812afd692"
    name = "Github Make Pull Request"
    description = "Makes a pull request in a GitHub repository."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    is_sensitive_action = True

    class Input(RepositoryPins):
        """Its input pins."""

        title: str = Field(description="Its title.")
        body: str = Field(description="What it says.")
        head: str = Field(description="The branch with the changes.")
        base: str = Field(description="The branch that they are for.")

    class Output(MadePins):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Make it."""
        data = {"title": inputs.title, "body": inputs.body, "head": inputs.head, "base": inputs.base}
        made = await call(context, "POST", f"{repository(inputs.repo_url)}/pulls", data=data)
        yield "number", number("GitHub", made, "number")
        yield "url", str(field("GitHub", made, "html_url"))


class GithubReadPullRequest(Block["GithubReadPullRequest.Input"]):
    """Reads a pull request."""

    id = "bf94b2a4-1a30-4600-a783-a8a44ee31301"
    name = "Github Read Pull Request"
    description = "Reads a GitHub pull request, with its changes if they are wanted."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    is_idempotent = True

    class Input(GithubPins):
        """Its input pins."""

        pr_url: str = Field(description="The pull request's address.")
        include_pr_changes: bool = Field(default=False, description="Whether its changes are read.")

    class Output(Pins):
        """Its output pins."""

        title: str = Field(description="Its title.")
        body: str = Field(description="What it says.")
        author: str = Field(description="Who made it.")
        changes: str = Field(description="What it changes, as a diff.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Read it."""
        place = "{}/pulls/{}".format(*numbered(inputs.pr_url))
        found = await call(context, "GET", place)
        yield "title", str(field("GitHub", found, "title"))
        yield "body", str(found.get("body") or "")
        yield "author", str(field("GitHub", found, "user", "login"))
        if inputs.include_pr_changes:
            changes = await answer_of(context, "GET", place, accept="application/vnd.github.diff")
            yield "changes", changes.body.decode(errors="replace")[:MAX_CHANGES_CHARS]
