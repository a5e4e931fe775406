"""The page of a person's files. It works without JavaScript."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import EmptyPage, Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.models import User
from apps.runtime.errors import DomainError, NotFound
from apps.workspace import queries, services
from apps.workspace.kinds import IMAGES
from apps.workspace.models import File
from apps.workspace.places import base_name
from apps.workspace.uploads import expect_upload, uploaded

FILES_A_PAGE = 25


@csrf_exempt  # the token is in the form, and looking for it reads the form: the inner view checks it
@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def workspace(request: HttpRequest) -> HttpResponse:
    """List the person's files; a POST uploads one."""
    if request.method == "POST":
        expect_upload(request)
        try:
            return _upload(request)
        except DomainError as error:
            messages.error(request, error.detail)
            return redirect("workspace")
    return _list(request)


@csrf_protect
def _upload(request: HttpRequest) -> HttpResponse:
    """Store the form's file.

    Raises:
        DomainError: When it is refused.
    """
    assert isinstance(request.user, User)
    with uploaded(request.FILES) as file:
        wish = services.Wish(
            user_id=request.user.pk,
            path=base_name(file.name or ""),
            mime_type=file.content_type or "",
            rename=True,
        )
        stored = services.store_file(wish, file.spool)
    messages.success(request, f"{stored.name} is in your workspace.")
    return redirect("workspace")


@csrf_protect
def _list(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    number = request.GET.get("page", "1")
    page_number = int(number) if number.isdecimal() and len(number) < 9 else 1
    offset = (max(1, page_number) - 1) * FILES_A_PAGE
    files, total = queries.list_files(user_id=request.user.pk, limit=FILES_A_PAGE, offset=offset)
    pages = Paginator(range(total), FILES_A_PAGE)
    try:
        page: Page = pages.page(max(1, page_number))
    except EmptyPage:
        return redirect(f"{reverse('workspace')}?{urlencode({'page': pages.num_pages})}")
    context = {
        "files": [{"row": file, "is_image": file.mime_type in IMAGES} for file in files],
        "page": page,
        "total": total,
        "usage": queries.usage_of(request.user.pk),
        "by_copilot": File.Origin.COPILOT,
    }
    return render(request, "workspace/files.html", context)


@login_required
@require_POST
def delete(request: HttpRequest, file_id: UUID) -> HttpResponse:
    """Delete one of the person's files and return to the list."""
    assert isinstance(request.user, User)
    try:
        file = services.delete_file(user_id=request.user.pk, file_id=file_id)
    except NotFound as error:
        raise Http404 from error
    messages.success(request, f"{file.name} is deleted.")
    return redirect("workspace")
