"""The form that runs an agent, saves what was entered as a preset, or plans it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from apps.accounts.models import User
from apps.billing.queries import balance_cents
from apps.library.errors import GraphInvalid, InputsInvalid, UnknownCredential
from apps.library.executor.start import start_execution
from apps.library.graphs import agents, schemas, services
from apps.library.graphs import queries as graph_queries
from apps.library.graphs.exporter import with_sub_graphs
from apps.library.graphs.shape import GraphData
from apps.library.models import LibraryAgent, Preset
from apps.library.pages import queries
from apps.library.pages.costs import Estimate, estimate
from apps.library.pages.fields import Field, Refused, fields_of, read
from apps.library.pages.keys import key_help, key_title
from apps.library.views.frame import asked_id, page
from apps.runtime.errors import DomainError, PaymentRequired
from apps.workspace.services import Wish, store_file

PRESET_NAME_LENGTH = 200


@dataclass(slots=True)
class CredentialField:
    """A key that the agent needs, with those of the person's that fit."""

    name: str
    html_name: str
    title: str
    is_required: bool
    choices: list[dict[str, Any]]
    help: str = ""
    chosen: str = ""
    error: str = ""


@dataclass(slots=True)
class RunForm:
    """Everything that the form shows."""

    agent: LibraryAgent
    fields: list[Field]
    credentials: list[CredentialField]
    estimate: Estimate
    is_dry_run: bool = False
    preset: Preset | None = None
    preset_name: str = ""
    preset_error: str = ""
    error: str = ""

    @property
    def plain(self) -> list[Field]:
        """The fields that are always shown."""
        return [field for field in self.fields if not field.is_advanced]

    @property
    def advanced(self) -> list[Field]:
        """The fields that are shown on demand."""
        return [field for field in self.fields if field.is_advanced]

    @property
    def opens_advanced(self) -> bool:
        """Whether something among the advanced fields must be seen."""
        return any(field.error for field in self.advanced)

    @property
    def faults(self) -> list[tuple[str, str, str]]:
        """What is wrong: the control, its title and the sentence."""
        found = [(field.html_name, field.title, field.error) for field in self.fields if field.error]
        return found + [(field.html_name, field.title, field.error) for field in self.credentials if field.error]


@page("GET", "POST")
def run_agent(request: HttpRequest, user: User, agent_id: UUID) -> HttpResponse:
    """Show the form of an agent's inputs; a POST starts a run or saves a preset."""
    agent = graph_queries.access_agent(user.pk, agent_id)
    data = with_sub_graphs(agent.graph)
    if request.method == "POST":
        return _sent(request, user, agent, data)
    preset = _preset(request, user, agent)
    values, chosen = _first_values(request, user, agent, preset)
    form = _form(user, agent, data, values, chosen)
    form.preset = preset
    return _shown(request, user, form)


def _preset(request: HttpRequest, user: User, agent: LibraryAgent) -> Preset | None:
    preset_id = asked_id(request, "preset")
    if preset_id is None:
        return None
    preset = graph_queries.access_preset(user.pk, preset_id)
    return preset if preset.agent_id == agent.pk else None


def _first_values(
    request: HttpRequest, user: User, agent: LibraryAgent, preset: Preset | None
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Return what a fresh form holds: a preset's inputs, those of an earlier run, or nothing."""
    if preset is not None:
        return preset.inputs, preset.credential_inputs
    if (again := asked_id(request, "again")) is not None:
        run = queries.access_run(user.pk, again)
        if run.agent_id == agent.pk:
            return run.inputs, run.credential_inputs
    return {}, {}


def _form(
    user: User, agent: LibraryAgent, data: GraphData, values: Mapping[str, Any], chosen: Mapping[str, str]
) -> RunForm:
    return RunForm(
        agent=agent,
        fields=fields_of(schemas.input_schema(data), values),
        credentials=_credential_fields(user, data, chosen),
        estimate=estimate(data),
    )


def _credential_fields(user: User, data: GraphData, chosen: Mapping[str, str]) -> list[CredentialField]:
    schema = schemas.credentials_schema(data)
    wanted = schema["properties"]
    providers = {name for facts in wanted.values() for name in facts["credentials_provider"]}
    types = {name for facts in wanted.values() for name in facts["credentials_types"]}
    mine = queries.credentials_that_fit(user.pk, providers, types) if wanted else []
    made = []
    for number, (name, facts) in enumerate(wanted.items()):
        fit = [
            each
            for each in mine
            if each["provider"] in facts["credentials_provider"] and each["type"] in facts["credentials_types"]
        ]
        # Who has just one that fits doesn't have to look for it.
        only = str(fit[0]["pk"]) if len(fit) == 1 and name in schema["required"] else ""
        made.append(
            CredentialField(
                name=name,
                html_name=f"credential-{number}",
                title=key_title(facts["credentials_provider"]),
                is_required=name in schema["required"],
                choices=fit,
                help=key_help(facts["credentials_provider"], is_required=name in schema["required"]),
                chosen=str(chosen.get(name) or only),
            )
        )
    return made


def _sent(request: HttpRequest, user: User, agent: LibraryAgent, data: GraphData) -> HttpResponse:
    form = _form(user, agent, data, {}, {})
    inputs = read(form.fields, request.POST, request.FILES, store=partial(_store, user.pk))
    form.is_dry_run = "dry_run" in request.POST
    chosen = _read_credentials(form, request)
    if request.POST.get("action") == "preset":
        return _save_preset(request, user, form, inputs, chosen)
    if form.faults:
        return _shown(request, user, form)
    try:
        run = start_execution(
            user_id=user.pk,
            graph=agent.graph,
            agent=agent,
            inputs=inputs,
            credential_inputs=chosen,
            is_dry_run=form.is_dry_run,
        )
    except InputsInvalid as error:
        _place_problems(form, error)
    except (GraphInvalid, PaymentRequired) as error:
        form.error = error.detail
    else:
        return redirect("library:execution", run.pk)
    return _shown(request, user, form)


def _store(user_id: UUID, file: UploadedFile) -> str:
    try:
        wish = Wish(user_id=user_id, path=f"/uploads/{file.name}", mime_type=file.content_type or "", rename=True)
        return store_file(wish, file.chunks()).uri
    except DomainError as error:
        raise Refused(error.detail) from error


def _read_credentials(form: RunForm, request: HttpRequest) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for field in form.credentials:
        field.chosen = request.POST.get(field.html_name, "")
        if field.chosen and field.chosen not in {str(each["pk"]) for each in field.choices}:
            field.error = "Choose one of yours."
        elif field.chosen:
            chosen[field.name] = field.chosen
        elif field.is_required and not form.is_dry_run:
            field.error = "This agent can't work without it."
    return chosen


def _save_preset(
    request: HttpRequest, user: User, form: RunForm, inputs: dict[str, Any], chosen: dict[str, str]
) -> HttpResponse:
    """Keep what was entered; what is still missing may be added when the preset is used."""
    form.preset_name = request.POST.get("preset_name", "").replace("\x00", "").strip()[:PRESET_NAME_LENGTH]
    if not form.preset_name:
        form.preset_error = "Give the preset a name."
    for each in form.fields:
        if not each.text and not any(map(any, each.rows)):
            each.error = ""
    for credential in form.credentials:
        if not credential.chosen:
            credential.error = ""
    if form.preset_error or form.faults:
        return _shown(request, user, form)
    try:
        agents.create_preset(
            user_id=user.pk,
            agent_id=form.agent.pk,
            name=form.preset_name,
            inputs=inputs,
            credential_inputs=chosen,
        )
    except UnknownCredential as error:
        form.error = error.detail
        return _shown(request, user, form)
    messages.success(request, f"The preset “{form.preset_name}” is saved.")
    return redirect("library:agent", form.agent.pk)


def _place_problems(form: RunForm, error: InputsInvalid) -> None:
    """Show what the executor refuses beside the fields that it is about."""
    by_name: dict[str, Field | CredentialField] = {field.name: field for field in form.credentials}
    by_name.update({field.name: field for field in form.fields})
    elsewhere = []
    for name, problem in error.fields["problems"].items():
        if name in by_name:
            by_name[name].error = str(problem)
        else:
            elsewhere.append(f"{name}: {problem}")
    if elsewhere:
        form.error = " ".join([error.detail, *elsewhere])


def _shown(request: HttpRequest, user: User, form: RunForm) -> HttpResponse:
    is_refused = bool(form.faults or form.error or form.preset_error)
    context = {
        "form": form,
        "agent": form.agent,
        "graph": form.agent.graph,
        "balance_cents": balance_cents(user.pk),
        "problems": services.problems_of(user_id=user.pk, graph=form.agent.graph, for_run=True),
    }
    return render(request, "library/run.html", context, status=400 if is_refused else 200)
