"""What every page of the library shares: who asks, the clock of that person, pages of lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from apps.accounts.models import User
from apps.runtime.errors import DomainError, NotFound

#: Beyond this page nobody looks; numbers of any size would reach the database otherwise.
MOST_PAGES = 100_000


def page(*methods: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Return a decorator of views for signed-in people, which get the `User` beside the request.

    Times are shown on the person's own clock, and what isn't theirs is a 404 like what isn't there.
    """

    def wrap(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @login_required
        @never_cache
        @require_http_methods(list(methods))
        @wraps(view)
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            assert isinstance(user, User)
            try:
                with timezone.override(ZoneInfo(user.time_zone)):
                    return view(request, user, *args, **kwargs)
            except NotFound as error:
                raise Http404 from error

        return inner

    return wrap


@dataclass(frozen=True, slots=True)
class Paging:
    """Where in a list one is, and the way to its neighbours.

    Attributes:
        number: This page, from 1.
        size: Rows a page.
        total: Rows of all pages, as far as they were counted.
        query: What the addresses of other pages keep of this one's, with `&` at its end.
        has_more: Whether there are more than were counted.
    """

    number: int
    size: int
    total: int
    query: str
    has_more: bool = False

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.total // self.size))

    @property
    def before(self) -> int | None:
        """The page before; None on the first."""
        return self.number - 1 if self.number > 1 else None

    @property
    def after(self) -> int | None:
        """The page after; None on the last."""
        return self.number + 1 if self.number < self.pages else None


def page_number(request: HttpRequest) -> int:
    """Return the page that is asked for; the first for anything that is none."""
    asked = request.GET.get("page", "")
    return min(max(int(asked), 1), MOST_PAGES) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1


def paging(request: HttpRequest, *, number: int, size: int, total: int, has_more: bool = False) -> Paging:
    """Return where one is in a list of `total` rows, or more."""
    kept = request.GET.copy()
    kept.pop("page", None)
    return Paging(number, size, total, f"{kept.urlencode()}&" if kept else "", has_more)


def asked_id(request: HttpRequest, name: str) -> UUID | None:
    """Return an id of the address; None where there is none, or nothing that could be one."""
    return as_id(request.GET.get(name, ""))


def as_id(text: str) -> UUID | None:
    """Return an id that a form or an address holds; None when it holds none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def back(request: HttpRequest, fallback: str, *args: Any) -> HttpResponse:
    """Return to where the form says that it was sent from; `fallback` names a page where it says nothing of use."""
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return redirect(wanted)
    return redirect(fallback, *args)


def tell_error(request: HttpRequest, error: DomainError) -> None:
    """Show why something was refused on the next page."""
    messages.error(request, error.detail)
