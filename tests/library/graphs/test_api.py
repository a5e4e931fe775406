"""Agents, versions, folders, presets and blocks over REST, for three people."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from apps.library.graphs import services
from apps.library.models import Credential, Folder, Graph, LibraryAgent, Preset
from tests.library.graphs import blocks as b
from tests.library.graphs.graphs import echo, entry, graph, node, result, runs
from tests.library.graphs.test_secrecy import KEY

ROOT = "/api/library/"
AGENTS, FOLDERS, PRESETS, BLOCKS = (f"{ROOT}{name}" for name in ("agents", "folders", "presets", "blocks"))
NOBODYS = {"detail": "Not found."}


def new(person, **more):
    """Return a new agent's id."""
    answer = person.client.post(f"{AGENTS}/import", echo(**more), format="json")
    assert answer.status_code == 201, answer.json()
    return answer.json()["agent"]["id"]


def upload(person, content, name="agent.json"):
    return person.client.post(
        f"{AGENTS}/import", {"file": SimpleUploadedFile(name, content, "application/json")}, format="multipart"
    )


def test_strangers_get_401(db):
    for address in (AGENTS, FOLDERS, PRESETS, BLOCKS, f"{AGENTS}/{uuid4()}/export"):
        assert APIClient().get(address).status_code == 401
    for address in (f"{AGENTS}/import", f"{ROOT}graphs/validate"):
        assert APIClient().post(address, echo(), format="json").status_code == 401


def test_everybody_sees_their_own_library_only(owner, teammate):
    mine = new(owner)
    listed = owner.client.get(AGENTS).json()
    assert (listed["total"], [each["id"] for each in listed["agents"]]) == (1, [mine])
    assert teammate.client.get(AGENTS).json() == {"agents": [], "total": 0}
    folder = owner.client.post(FOLDERS, {"name": "f"}, format="json").json()["id"]
    preset = owner.client.post(PRESETS, {"name": "p", "agent_id": mine}, format="json").json()["id"]
    calls = [
        ("get", f"{AGENTS}/%s", mine),
        ("patch", f"{AGENTS}/%s", mine),
        ("delete", f"{AGENTS}/%s", mine),
        ("get", f"{AGENTS}/%s/export", mine),
        ("get", f"{AGENTS}/%s/graph", mine),
        ("put", f"{AGENTS}/%s/graph", mine),
        ("get", f"{AGENTS}/%s/versions", mine),
        ("post", f"{AGENTS}/%s/versions/1/activate", mine),
        ("post", f"{AGENTS}/%s/versions/1/clone", mine),
        ("patch", f"{FOLDERS}/%s", folder),
        ("delete", f"{FOLDERS}/%s", folder),
        ("get", f"{PRESETS}/%s", preset),
        ("patch", f"{PRESETS}/%s", preset),
        ("delete", f"{PRESETS}/%s", preset),
    ]
    for method, address, known in calls:
        for wanted in (known, uuid4()):
            answer = getattr(teammate.client, method)(address % wanted, {"odd": 1}, format="json")
            assert (answer.status_code, answer.json()) == (404, NOBODYS), (method, address)
    assert (LibraryAgent.objects.count(), Folder.objects.count(), Preset.objects.count()) == (1, 1, 1)


def test_a_file_goes_in_and_comes_out(owner):
    answer = upload(owner, json.dumps(echo(name="Süß")).encode())
    assert answer.status_code == 201
    body = answer.json()
    assert (body["agent"]["name"], body["agent"]["version"], body["sub_agents"], body["problems"]) == ("Süß", 1, [], [])
    out = owner.client.get(f"{AGENTS}/{body['agent']['id']}/export")
    assert "attachment" in out["Content-Disposition"]
    assert upload(owner, json.dumps(out.json()).encode()).status_code == 201
    assert Graph.objects.count() == 2


def test_secrets_in_a_file_are_told_without_their_value(owner):
    answer = owner.client.post(
        f"{AGENTS}/import", graph(entry(), node("t", b.TEMPLATE, format=KEY, values={})), format="json"
    )
    assert answer.status_code == 201
    assert KEY not in answer.content.decode()
    assert {each["code"] for each in answer.json()["problems"]} >= {"secret_removed"}


def test_a_file_that_is_wrong_says_what(owner):
    answer = owner.client.post(f"{AGENTS}/import", graph(entry(), result(), "in.nope -> out.value"), format="json")
    assert answer.status_code == 400
    body = answer.json()
    assert body["code"] == "graph_invalid"
    (problem,) = body["problems"]
    assert (problem["code"], problem["node_id"], problem["pin"], problem["stops"]) == (
        "unknown_output",
        "in",
        "nope",
        "save",
    )
    assert upload(owner, b"{").json()["problems"][0]["code"] == "not_json"
    assert owner.client.post(f"{AGENTS}/import", {}, format="multipart").json() == {"file": ["No file was given."]}
    assert not Graph.objects.exists()


def test_large_files_are_refused(owner):
    assert upload(owner, b" " * 999_000 + b"{").json()["problems"][0]["code"] == "not_json"
    assert upload(owner, b" " * 1_000_001).json()["problems"][0]["code"] == "too_large"
    assert upload(owner, b" " * 2_000_000).status_code == 413
    body = echo(description="x" * 1_004_000)
    assert owner.client.post(f"{AGENTS}/import", body, format="json").json()["problems"][0]["code"] == "too_large"
    assert owner.client.post(f"{AGENTS}/import", echo(description="x" * 1_100_000), format="json").status_code == 413


def test_an_agent_tells_what_it_takes_and_needs(owner):
    agent_id = new(owner, instructions="Just ask")
    body = owner.client.get(f"{AGENTS}/{agent_id}").json()
    assert body["input_schema"]["required"] == ["Topic"]
    assert list(body["output_schema"]["properties"]) == ["Result"]
    assert (body["can_run"], body["problems"], body["instructions"]) == (True, [], "Just ask")
    assert (body["has_external_trigger"], body["trigger_setup_info"]) == (False, None)
    strange = owner.client.post(f"{AGENTS}/import", graph(node("x", "nobody's")), format="json").json()["agent"]["id"]
    body = owner.client.get(f"{AGENTS}/{strange}").json()
    assert body["can_run"] is False
    assert "unknown_block" in {each["code"] for each in body["problems"]}


def test_how_an_agent_is_kept_can_be_changed(owner):
    agent_id = new(owner)
    folder = owner.client.post(FOLDERS, {"name": "Work"}, format="json").json()
    change = {
        "settings": {"human_in_the_loop_safe_mode": False, "mine": [1]},
        "folder_id": folder["id"],
        "is_favorite": True,
        "is_archived": True,
        "run_cap_cents": 50,
        "daily_cap_cents": 0,
    }
    answer = owner.client.patch(f"{AGENTS}/{agent_id}", change, format="json")
    assert answer.status_code == 200
    assert {key: answer.json()[key] for key in change} == change
    answer = owner.client.patch(f"{AGENTS}/{agent_id}", {"settings": {"new": 1}, "run_cap_cents": None}, format="json")
    assert answer.json()["settings"] == {"human_in_the_loop_safe_mode": False, "mine": [1], "new": 1}
    assert answer.json()["run_cap_cents"] is None
    assert owner.client.get(FOLDERS).json()["folders"][0]["agent_count"] == 1
    for filters, total in (
        ({"is_favorite": "true", "is_archived": "true", "folder_id": folder["id"], "search": "AGENT"}, 1),
        ({"is_favorite": "false"}, 0),
        ({"is_archived": "false"}, 0),
        ({"without_folder": "true"}, 0),
        ({"search": "nope"}, 0),
    ):
        assert owner.client.get(AGENTS, filters).json()["total"] == total, filters


@pytest.mark.parametrize(
    "bad",
    [{"settings": []}, {"settings": {"human_in_the_loop_safe_mode": "yes"}}, {"settings": {"a": "\x00"}},
     {"run_cap_cents": -1}, {"daily_cap_cents": 2**31}, {"name": "x"}, {"is_favorite": None}],
)  # fmt: skip
def test_changes_that_can_not_be_used_are_400(owner, bad):
    agent_id = new(owner)
    assert owner.client.patch(f"{AGENTS}/{agent_id}", bad, format="json").status_code == 400


def test_an_endless_number_is_no_setting(owner):
    agent_id = new(owner)
    answer = owner.client.patch(f"{AGENTS}/{agent_id}", '{"settings": {"a": 1e999}}', content_type="application/json")
    assert answer.status_code == 400


def test_a_folder_of_somebody_else_is_404(owner, teammate):
    agent_id = new(owner)
    theirs = teammate.client.post(FOLDERS, {"name": "f"}, format="json").json()["id"]
    for folder in (theirs, str(uuid4())):
        answer = owner.client.patch(f"{AGENTS}/{agent_id}", {"folder_id": folder}, format="json")
        assert (answer.status_code, answer.json()) == (404, NOBODYS)
        assert owner.client.post(FOLDERS, {"name": "g", "parent_id": folder}, format="json").status_code == 404


def test_the_picture_of_a_graph_and_its_versions(owner):
    agent_id = new(owner)
    shown = owner.client.get(f"{AGENTS}/{agent_id}/graph").json()
    assert [(each["block_name"], each["is_placeholder"]) for each in shown["nodes"]] == [
        ("Agent Input", False),
        ("Agent Output", False),
    ]
    (wire,) = shown["links"]
    assert wire["source_id"] == shown["nodes"][0]["id"]

    shown["nodes"].append(node("x", "6ab085e2-20b3-4055-bc3e-08036e01eca6"))
    saved = owner.client.put(f"{AGENTS}/{agent_id}/graph", {**shown, "name": "Second"}, format="json")
    assert saved.status_code == 200, saved.json()
    assert (saved.json()["version"], saved.json()["is_active"], saved.json()["name"]) == (2, True, "Second")
    assert (saved.json()["nodes"][2]["block_name"], saved.json()["nodes"][2]["is_placeholder"]) == (
        "Ideogram Model",
        True,
    )
    assert owner.client.get(f"{AGENTS}/{agent_id}/graph", {"version": 1}).json()["name"] == "An agent"
    assert owner.client.get(f"{AGENTS}/{agent_id}/graph", {"version": 3}).status_code == 404
    assert owner.client.get(f"{AGENTS}/{agent_id}/graph", {"version": 0}).status_code == 400

    listed = owner.client.get(f"{AGENTS}/{agent_id}/versions").json()
    assert [(each["version"], each["is_active"], each["node_count"]) for each in listed["versions"]] == [
        (2, True, 3),
        (1, False, 2),
    ]
    assert owner.client.post(f"{AGENTS}/{agent_id}/versions/1/activate").json()["version"] == 1
    assert owner.client.get(f"{AGENTS}/{agent_id}").json()["name"] == "An agent"
    copy = owner.client.post(f"{AGENTS}/{agent_id}/versions/2/clone")
    assert (copy.status_code, copy.json()["name"], copy.json()["version"]) == (201, "Second (copy)", 1)
    for verb in ("activate", "clone"):
        assert owner.client.post(f"{AGENTS}/{agent_id}/versions/9{'9' * 30}/{verb}").status_code == 404

    wrong = owner.client.put(f"{AGENTS}/{agent_id}/graph", graph(entry(), "in.x -> gone.y"), format="json")
    assert wrong.status_code == 400
    assert owner.client.get(f"{AGENTS}/{agent_id}/versions").json()["total"] == 2


def test_a_deleted_agent_is_gone(owner):
    agent_id = new(owner)
    assert owner.client.delete(f"{AGENTS}/{agent_id}").status_code == 204
    assert owner.client.delete(f"{AGENTS}/{agent_id}").status_code == 404
    assert owner.client.get(AGENTS).json()["total"] == 0


def test_a_graph_is_checked_and_mended_without_being_saved(owner):
    file = graph(
        entry(), node("t", b.TEXT_GENERATOR, prompt="On {topic}"), result(), "in.result -> t.prompt_values_#_topic"
    )
    body = owner.client.post(f"{ROOT}graphs/validate", file, format="json").json()
    assert (body["can_save"], body["can_run"]) == (True, True)
    assert body["fixed_graph"]["nodes"][1]["input_default"]["prompt"] == "On {{topic}}"
    assert len(body["fixes"]) >= 2
    assert body["remaining_problems"] == []
    wrong = graph(entry(), node("w", b.WORDS), "in.x -> gone.y", name="")
    body = owner.client.post(f"{ROOT}graphs/validate", wrong, format="json").json()
    assert (body["can_save"], body["can_run"]) == (False, False)
    assert {each["code"] for each in body["problems"]} >= {"malformed", "unknown_node", "missing_input"}
    body = owner.client.post(f"{ROOT}graphs/validate", [5], format="json").json()
    assert (body["can_save"], body["fixed_graph"]) == (False, None)
    assert not Graph.objects.exists()


def test_folders(owner):
    make = lambda **fields: owner.client.post(FOLDERS, fields, format="json")  # noqa: E731
    one = make(name="One").json()
    two = make(name="Two", parent_id=one["id"]).json()
    assert two["parent_id"] == one["id"]
    assert make(name="One").status_code == 409
    assert make(name="").status_code == make(name="x" * 101).status_code == 400
    assert [each["name"] for each in owner.client.get(FOLDERS, {"top": "true"}).json()["folders"]] == ["One"]
    assert [each["name"] for each in owner.client.get(FOLDERS, {"parent_id": one["id"]}).json()["folders"]] == ["Two"]
    change = lambda which, **fields: owner.client.patch(f"{FOLDERS}/{which['id']}", fields, format="json")  # noqa: E731
    assert change(one, parent_id=two["id"]).json()["code"] == "folder_misplaced"
    assert change(two, parent_id=None, name="One").status_code == 409
    assert change(two, parent_id=None, name="Zwei").json()["parent_id"] is None
    assert change(two).status_code == 200
    assert owner.client.delete(f"{FOLDERS}/{one['id']}").status_code == 204
    assert owner.client.get(FOLDERS).json()["total"] == 1


def credential(person):
    return Credential.objects.create(user=person.user, provider="acme", type="api_key", title="t", secret=b"x")


def test_presets(owner, teammate):
    agent_id = new(owner)
    chosen = {"acme_api_key_credentials": str(credential(owner).pk)}
    fields = {"name": "Bees", "description": "d", "inputs": {"Topic": "bees"}, "credential_inputs": chosen}
    made = owner.client.post(PRESETS, {**fields, "agent_id": agent_id}, format="json")
    assert made.status_code == 201
    assert {key: made.json()[key] for key in fields} == fields
    address = f"{PRESETS}/{made.json()['id']}"
    assert owner.client.patch(address, {"inputs": {}, "is_active": False}, format="json").json()["inputs"] == {}
    assert owner.client.get(address).json()["is_active"] is False
    assert owner.client.get(PRESETS, {"agent_id": agent_id}).json()["total"] == 1
    assert owner.client.get(PRESETS, {"agent_id": uuid4()}).json()["total"] == 0
    for other in (str(credential(teammate).pk), str(uuid4())):
        answer = owner.client.patch(address, {"credential_inputs": {"x": other}}, format="json")
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_credential")
    assert owner.client.patch(address, {"inputs": [1]}, format="json").status_code == 400
    assert owner.client.post(PRESETS, {"name": "x", "agent_id": str(uuid4())}, format="json").status_code == 404
    assert teammate.client.post(PRESETS, {"name": "x", "agent_id": agent_id}, format="json").status_code == 404
    assert owner.client.delete(address).status_code == 204
    assert owner.client.get(address).status_code == 404


def test_blocks_can_be_looked_through(owner, blocks):
    everything = owner.client.get(BLOCKS, {"limit": 100}).json()
    assert everything["total"] == len([block for block in blocks.values() if not block.disabled])
    names = [each["name"] for each in everything["blocks"]]
    assert names == sorted(names)
    found = owner.client.get(BLOCKS, {"search": "STORE val"}).json()["blocks"]
    store = next(each for each in found if each["name"] == "Store Value")
    assert store["input_schema"]["required"] == ["input"]
    assert set(store["output_schema"]["properties"]) == {"output", "error"}
    assert owner.client.get(BLOCKS, {"category": "nope"}).json() == {"blocks": [], "total": 0}
    page = owner.client.get(BLOCKS, {"limit": 1, "offset": 1}).json()
    assert [each["name"] for each in page["blocks"]] == names[1:2]


@pytest.mark.parametrize("address", [AGENTS, FOLDERS, PRESETS, BLOCKS])
@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"limit": "x"}])
def test_pages_that_can_not_be_shown_are_400(owner, address, query):
    assert owner.client.get(address, query).status_code == 400


@pytest.mark.parametrize("rows", [1, 3])
def test_lists_cost_the_same_however_long(owner, rows, django_assert_num_queries):
    for number in range(rows):
        agent = LibraryAgent.objects.get(pk=new(owner))
        folder = Folder.objects.create(user=owner.user, name=str(number))
        LibraryAgent.objects.filter(pk=agent.pk).update(folder=folder)
        Preset.objects.create(user=owner.user, agent=agent, name="p")
    for _ in range(rows - 1):
        services.save_graph(user_id=owner.user.pk, data=echo(), graph_id=agent.graph_id_shared)

    def costs(count, address, key, **query):
        with django_assert_num_queries(count):
            assert len(owner.client.get(address, query).json()[key]) == rows

    costs(3, AGENTS, "agents")  # the token, the page, how many
    costs(3, AGENTS, "agents", search="agent", is_archived="false")
    costs(3, FOLDERS, "folders")
    costs(3, PRESETS, "presets")
    costs(4, f"{AGENTS}/{agent.pk}/versions", "versions")  # and the agent
    with django_assert_num_queries(1):
        owner.client.get(BLOCKS)


@pytest.mark.parametrize("children", [1, 3])
def test_an_agent_costs_the_same_however_many_it_runs(owner, children, django_assert_num_queries):
    subs = [echo(name=f"Child {number}") for number in range(children)]
    wires = [f"in.result -> x{number}.Topic" for number in range(children)]
    nodes = [runs(f"x{number}", sub) for number, sub in enumerate(subs)]
    agent = owner.client.post(f"{AGENTS}/import", graph(entry(), *nodes, *wires, sub_graphs=subs), format="json").json()
    address = f"{AGENTS}/{agent['agent']['id']}"
    # Token, agent, nodes, links; versions, agents, nodes and links of those it runs; and these for their credentials.
    with django_assert_num_queries(11):
        assert owner.client.get(address).json()["can_run"] is True
    with django_assert_num_queries(4):
        assert len(owner.client.get(f"{address}/graph").json()["nodes"]) == children + 1
    with django_assert_num_queries(7):  # and the sub-agents, their nodes and links
        assert len(owner.client.get(f"{address}/export").json()["sub_graphs"]) == children
