"""The library: what goes on, and the agents in it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from apps.accounts.models import User
from apps.library.briefing import briefing
from apps.library.errors import FolderMisplaced, FolderNameTaken, GraphInvalid
from apps.library.graphs import folders
from apps.library.graphs import queries as graph_queries
from apps.library.graphs.examples import load_examples
from apps.library.graphs.services import Imported, import_agent
from apps.library.graphs.shape import MOST_BYTES
from apps.library.pages import queries
from apps.library.views.frame import as_id, page, page_number, paging, tell_error

AGENTS_A_PAGE = 24
FOLDERS_SHOWN = 100
SEARCH_LENGTH = 200
NAME_LENGTH = 100
#: What the list may be narrowed to besides folders.
SHELVES = {
    "": {"is_archived": False},
    "favorites": {"is_archived": False, "is_favorite": True},
    "archived": {"is_archived": True},
}
#: Advice that an import shows; the rest is on the agent's page.
ADVICE_SHOWN = 5


@page("GET")
def library(request: HttpRequest, user: User) -> HttpResponse:
    """Show what goes on and a page of agents."""
    return _shelf(request, user)


def _shelf(request: HttpRequest, user: User, *, import_error: GraphInvalid | None = None) -> HttpResponse:
    search = request.GET.get("q", "").replace("\x00", "").strip()[:SEARCH_LENGTH]
    shelf = request.GET.get("show", "") if request.GET.get("show", "") in SHELVES else ""
    folder = as_id(request.GET.get("folder", ""))
    number = page_number(request)
    agents, total = graph_queries.list_agents(
        user_id=user.pk,
        limit=AGENTS_A_PAGE,
        offset=(number - 1) * AGENTS_A_PAGE,
        search=search,
        folder_id=folder,
        **SHELVES[shelf],
    )
    runs = queries.last_runs(agents)
    all_folders, _ = graph_queries.list_folders(user_id=user.pk, limit=FOLDERS_SHOWN, offset=0)
    context = {
        "briefing": briefing(user_id=user.pk, time_zone=user.time_zone),
        "cards": [(agent, runs.get(agent.pk)) for agent in agents],
        "paging": paging(request, number=number, size=AGENTS_A_PAGE, total=total),
        "search": search,
        "shelf": shelf,
        "folder": next((each for each in all_folders if each.pk == folder), None),
        "folders": all_folders,
        "is_narrowed": bool(search or shelf or folder),
        "import_error": import_error,
        "problems": import_error.fields["problems"] if import_error else [],
    }
    return render(request, "library/library.html", context, status=400 if import_error else 200)


@page("POST")
def import_file(request: HttpRequest, user: User) -> HttpResponse:
    """Put the agent of an uploaded file into the library."""
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile):
        messages.error(request, "Choose the file of an agent first.")
        return redirect("library:home")
    try:
        # One byte more than files may have is enough to be refused for it.
        imported = import_agent(user_id=user.pk, file=file.read(MOST_BYTES + 1))
    except GraphInvalid as error:
        return _shelf(request, user, import_error=error)
    _tell_import(request, imported)
    return redirect("library:agent", imported.agent.pk)


def _tell_import(request: HttpRequest, imported: Imported) -> None:
    more = f", with {len(imported.sub_agents)} that it runs" if imported.sub_agents else ""
    messages.success(request, f"“{imported.agent.graph.name}” is in your library{more}.")
    for advice in imported.told[:ADVICE_SHOWN]:
        messages.warning(request, f"{advice.message} {advice.remedy}")
    if len(imported.told) > ADVICE_SHOWN:
        messages.warning(request, f"There are {len(imported.told) - ADVICE_SHOWN} more remarks on the file.")


@page("POST")
def examples(request: HttpRequest, user: User) -> HttpResponse:
    """Put the example agents into the library."""
    count = len(load_examples(user.pk))
    if count:
        messages.success(request, f"{count} examples are in your library. Open one and run it.")
    else:
        messages.info(request, "The examples are in your library already.")
    return redirect("library:home")


@page("POST")
def create_folder(request: HttpRequest, user: User) -> HttpResponse:
    """Make a folder."""
    name = request.POST.get("name", "").replace("\x00", "").strip()[:NAME_LENGTH]
    if not name:
        messages.error(request, "Give the folder a name.")
        return redirect("library:home")
    try:
        folders.create_folder(user_id=user.pk, name=name, parent_id=as_id(request.POST.get("parent", "")))
    except (FolderNameTaken, FolderMisplaced) as error:
        tell_error(request, error)
    else:
        messages.success(request, f"The folder “{name}” is made. Put agents into it on their pages.")
    return redirect("library:home")


@page("POST")
def delete_folder(request: HttpRequest, user: User, folder_id: UUID) -> HttpResponse:
    """Delete a folder; its agents stay."""
    folders.delete_folder(user_id=user.pk, folder_id=folder_id)
    messages.success(request, "The folder is deleted. Its agents are still in your library.")
    return redirect("library:home")
