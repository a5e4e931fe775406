"""Nothing that fits the schema of the agents' API, and little that doesn't, breaks the server."""

from __future__ import annotations

import hypothesis
import pytest
from schemathesis.checks import load_all_checks

from tests.chat.served import broker  # noqa: F401 -- a fixture
from tests.chat.test_openapi import EXAMPLES, EXCLUDED, REAL, loaded_schema
from tests.library.graphs.areas import AREAS, ROOT
from tests.library.graphs.graphs import echo


def things_of(person) -> dict[str, str]:
    """Make one of each thing; returns their ids by what paths call them."""

    def make(address, body):
        answer = person.client.post(f"{ROOT}{address}", body, format="json")
        assert answer.status_code == 201
        return answer.json()

    agent = make("/agents/import", echo())["agent"]["id"]
    folder = make("/folders", {"name": "f"})["id"]
    preset = make("/presets", {"name": "p", "agent_id": agent})["id"]
    return {"agent_id": agent, "folder_id": folder, "preset_id": preset, "version": "1"}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # threads of the server do
@pytest.mark.parametrize("area", AREAS)
def test_nothing_that_fits_the_schema_breaks_the_server(live, monkeypatch, area):
    monkeypatch.setattr("apps.runtime.rest.PatientThrottle.THROTTLE_RATES", {"user": None})
    load_all_checks()
    schema = loaded_schema(live.url)
    things = things_of(live.owner)
    seen = set()
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path not in {f"{ROOT}{path}" for path in AREAS[area]}:
            continue
        tried.add(operation.path)

        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=EXAMPLES < 1000,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(), real=REAL)
        def attack(case, real):
            if real and case.method != "DELETE":
                case.path_parameters.update({key: things[key] for key in case.path_parameters})
            response = case.call(headers=live.owner.headers, timeout=20)
            seen.add(response.status_code)
            assert response.status_code < 500
            case.validate_response(response, headers=live.owner.headers, excluded_checks=EXCLUDED)

        attack()
    assert len(tried) == len(AREAS[area])
    assert seen & {200, 201}


def test_every_path_of_the_agents_api_is_in_an_area(client, owner):
    client.force_login(owner.user)
    paths = client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()["paths"]
    rooms = ("agents", "graphs", "folders", "presets", "blocks")
    ours = {path for path in paths if path.startswith(tuple(f"{ROOT}/{room}" for room in rooms))}
    listed = {f"{ROOT}{path}" for area in AREAS.values() for path in area}
    assert listed <= ours
    from apps.library.graphs.urls import urlpatterns

    assert len(listed) == len(urlpatterns)
