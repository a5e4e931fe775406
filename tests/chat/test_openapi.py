"""The OpenAPI schema: whole, valid, and true of what the server does with whatever comes."""

import functools
import re
import threading

import httpx2
import hypothesis
import pytest
import schemathesis
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.chat.clients import new_session
from tests.chat.served import broker  # noqa: F401 -- a fixture
from tests.depth import depth
from tests.library.graphs.areas import AREAS, ROOT

EXAMPLES = depth(quick=1, full=4, deep=1000)
#: Whether an example is about things that exist; a single one had better be.
REAL = hypothesis.strategies.booleans() if EXAMPLES > 1 else hypothesis.strategies.just(value=True)
#: The parts of the API, and how many operations each has at least.
ROOMS = {
    "/api/chat": 11,
    "/api/accounts": 3,
    "/api/credits": 2,
    "/api/admin": 4,
    "/api/library": 20,
    "/api/workspace": 4,
}
# DRF takes "5" for 5 and 5 for "5", on purpose; and blank texts are refused though a JSON schema can't say so.
EXCLUDED = [negative_data_rejection, positive_data_acceptance]

#: What other services call, who have no account here; a secret path and a signature tell who they are.
FOR_ANYBODY = {"post /api/library/webhooks/{webhook_id}/{secret_path}"}
#: Whose bodies name rows, which may be unknown.
NAMES_IN_BODY = {
    "post /api/chat/sessions",
    "post /api/library/folders",
    "post /api/library/presets",
    "post /api/library/schedules",
    "post /api/library/webhooks",
    "post /api/library/reviews/actions",
    "post /api/workspace/files",
}


#: With ids that exist, by tests/library/graphs.
ATTACKED_ELSEWHERE = {f"{ROOT}{path}" for area in AREAS.values() for path in area}


@pytest.fixture
def schema(client, db):
    return client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()


def test_the_schema_is_made_without_warnings_and_valid(tmp_path):
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(tmp_path / "schema.yaml"))
    assert (tmp_path / "schema.yaml").stat().st_size > 1000


def test_every_address_of_the_api_is_described(schema):
    def addresses(patterns, before=""):
        for pattern in patterns:
            path = before + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from addresses(pattern.url_patterns, path)
            elif isinstance(pattern, URLPattern):
                yield "/" + re.sub(r"<(\w+:)?(\w+)>", r"{\2}", path)

    ours = {path for path in addresses(get_resolver().url_patterns) if path.startswith(tuple(ROOMS))}
    assert ours == set(schema["paths"])


def test_every_operation_says_who_may_and_how_it_refuses(schema):
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            name = f"{method} {path}"
            anybody = [{}] if name in FOR_ANYBODY else [{"ApiToken": []}, {"cookieAuth": []}]
            assert operation.get("security", [{}]) == anybody, name
            assert {"401", "403", "429", "503"} <= set(operation["responses"]), name
            names_something = "{" in path or name in NAMES_IN_BODY or path.startswith("/api/admin/")
            assert ("404" in operation["responses"]) == names_something, name
            assert operation.get("description"), name
    identifiers = [op["operationId"] for operations in schema["paths"].values() for op in operations.values()]
    assert len(identifiers) == len(set(identifiers))


def test_the_schema_and_its_page_open_for_signed_in_people(owner, client):
    client.force_login(owner.user)
    assert client.get("/api/docs/").status_code == 200
    assert client.get("/api/schema/").status_code == 200


@functools.cache
def loaded_schema(url):
    """Load the schema of a server; it takes long to make, and stays the same."""
    return schemathesis.openapi.from_url(f"{url}/api/schema/", headers={"Accept": "application/json"})


class ApiUser:
    """Calls operations with the owner's token, on a session that exists as often as on one that doesn't."""

    def __init__(self, live, schema):
        self.live = live
        self.headers = live.owner.headers
        self.session = new_session(live)
        self.schema = schema
        self.statuses = set()

    def operations(self, prefix):
        for result in self.schema.get_all_operations():
            operation = result.ok()
            if operation.path.startswith(prefix) and operation.path not in ATTACKED_ELSEWHERE:
                yield operation

    def attack(self, operation):
        examples = EXAMPLES if operation.path.split("/")[-1] != "stream" else max(EXAMPLES // 3, 1)

        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=EXAMPLES < 1000,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(), real=REAL)
        def run(case, real):
            if real and "session_id" in case.path_parameters and operation.method != "delete":
                case.path_parameters["session_id"] = self.session
            response = case.call(headers=self.headers, timeout=20)
            self.statuses.add(response.status_code)
            assert response.status_code < 500
            case.validate_response(response, headers=self.headers, excluded_checks=EXCLUDED)

        run()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # threads of the server do
@pytest.mark.parametrize(("prefix", "least"), ROOMS.items(), ids=[prefix.split("/")[-1] for prefix in ROOMS])
def test_nothing_that_fits_the_schema_breaks_the_server(live, monkeypatch, prefix, least):
    monkeypatch.setattr("apps.runtime.rest.PatientThrottle.THROTTLE_RATES", {"user": None})
    load_all_checks()
    assert {"not_a_server_error", "response_schema_conformance", "status_code_conformance"} <= set(
        CHECKS.get_all_names()
    )
    user = ApiUser(live, loaded_schema(live.url))
    tried = 0
    for operation in user.operations(prefix):
        user.attack(operation)
        tried += 1
    assert tried >= least
    assert user.statuses & {200, 201, 403}, user.statuses  # people are refused what operators may do
    assert threading.active_count() < 100
    assert httpx2.get(f"{live.url}/healthz").status_code == 200
