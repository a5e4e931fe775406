"""Versions, agents, folders and presets: what services promise, also when many write at once."""

from __future__ import annotations

import json
from functools import partial
from uuid import uuid4

import pytest
from django.utils import timezone

from apps.library.errors import FolderMisplaced, FolderNameTaken, GraphInvalid
from apps.library.graphs import agents, folders, hooks, queries, services
from apps.library.models import (
    Execution,
    Folder,
    Graph,
    LibraryAgent,
    Link,
    Node,
    Preset,
    Schedule,
    StoredValue,
    Webhook,
)
from apps.runtime.errors import NotFound
from tests.billing.crowds import at_once
from tests.library.graphs.graphs import echo, entry, graph, runs


def new(person, **more):
    row = services.save_graph(user_id=person.user.pk, data=echo(**more))
    return LibraryAgent.objects.get(graph=row)


def save(person, agent, **more):
    return services.save_graph(user_id=person.user.pk, data=echo(**more), graph_id=agent.graph_id_shared)


def versions(agent):
    """Return (version, whether it is active) of each, after checking that the library points at the active one."""
    rows = list(Graph.objects.filter(graph_id=agent.graph_id_shared).order_by("version"))
    active = [row for row in rows if row.is_active]
    assert len(active) == 1
    assert LibraryAgent.objects.get(pk=agent.pk).graph_id == active[0].pk
    return [(row.version, row.is_active) for row in rows]


@pytest.mark.django_db
def test_a_save_makes_the_next_version_the_active_one(owner):
    agent = new(owner)
    second = save(owner, agent, name="Second")
    assert (second.version, second.name, second.graph_id) == (2, "Second", agent.graph_id_shared)
    assert versions(agent) == [(1, False), (2, True)]
    assert not set(second.nodes.values_list("pk")) & set(Graph.objects.get(version=1).nodes.values_list("pk"))


@pytest.mark.django_db
def test_the_id_in_a_file_never_takes_over_somebodys_agent(owner, teammate):
    agent = new(owner)
    row = services.save_graph(user_id=teammate.user.pk, data={**echo(), "id": str(agent.graph_id_shared)})
    assert row.graph_id != agent.graph_id_shared
    assert versions(agent) == [(1, True)]


@pytest.mark.django_db
def test_others_agents_are_unknown(owner, teammate):
    agent = new(owner)
    theirs = {"user_id": teammate.user.pk, "agent_id": agent.pk}
    for call in (
        lambda: save(teammate, agent),
        lambda: services.activate_version(**theirs, version=1),
        lambda: services.clone_version(**theirs, version=1),
        lambda: services.delete_agent(**theirs),
        lambda: agents.change_agent(**theirs, is_favorite=True),
        lambda: agents.create_preset(**theirs, name="x"),
    ):
        with pytest.raises(NotFound):
            call()
    assert versions(agent) == [(1, True)]
    assert not LibraryAgent.objects.get(pk=agent.pk).is_favorite


@pytest.mark.django_db
def test_a_version_that_is_wrong_changes_nothing(owner):
    agent = new(owner)
    for bad in (graph(entry(), entry()), graph(entry(), sub_graphs=[echo()]), {"name": "x", "nodes": 5}):
        with pytest.raises(GraphInvalid):
            services.save_graph(user_id=owner.user.pk, data=bad, graph_id=agent.graph_id_shared)
    assert versions(agent) == [(1, True)]
    assert (Node.objects.count(), Link.objects.count()) == (2, 1)


@pytest.mark.django_db(transaction=True)
def test_savers_at_once_get_a_version_each_and_one_is_active(owner):
    agent = new(owner)
    jobs = [partial(save, owner, agent, name=f"Saver {number}") for number in range(6)]
    activate = partial(services.activate_version, user_id=owner.user.pk, agent_id=agent.pk, version=1)
    outcomes = at_once([*jobs, activate, activate])
    assert sorted(row.version for row in outcomes[:6]) == [2, 3, 4, 5, 6, 7]
    assert len(versions(agent)) == 7


@pytest.mark.django_db
def test_an_older_version_may_be_the_active_one(owner):
    agent = new(owner)
    save(owner, agent)
    assert services.activate_version(user_id=owner.user.pk, agent_id=agent.pk, version=1).graph.version == 1
    assert versions(agent) == [(1, True), (2, False)]
    services.activate_version(user_id=owner.user.pk, agent_id=agent.pk, version=1)
    assert versions(agent) == [(1, True), (2, False)]
    assert save(owner, agent).version == 3
    for version in (0, 9, 2**31, 10**30):
        with pytest.raises(NotFound):
            services.activate_version(user_id=owner.user.pk, agent_id=agent.pk, version=version)


@pytest.mark.django_db
def test_a_version_can_be_cloned(owner):
    agent = new(owner, name="n" * 200)
    save(owner, agent)
    copy = services.clone_version(user_id=owner.user.pk, agent_id=agent.pk, version=1)
    assert (copy.graph.forked_from_id, copy.graph.forked_from_version, copy.graph.version) == (
        agent.graph_id_shared,
        1,
        1,
    )
    assert copy.graph.name == "n" * 193 + " (copy)"
    assert copy.graph.nodes.count() == 2
    assert versions(agent) == [(1, False), (2, True)]


def run(agent, graph_row, status="RUNNING"):
    pk = uuid4()
    return Execution.objects.create(
        pk=pk, user_id=agent.user_id, graph=graph_row, agent=agent, root_id=pk, status=status
    )


@pytest.mark.django_db
def test_a_deleted_agent_takes_its_things_with_it_and_its_runs_are_asked_to_stop(owner, monkeypatch):
    asked = []
    monkeypatch.setattr(hooks, "on_runs_unwanted", [asked.append])
    agent, other = new(owner), new(owner)
    first = agent.graph
    save(owner, agent)
    running, _, waiting = run(agent, first), run(agent, first, "COMPLETED"), run(agent, first, "REVIEW")
    elsewhere = run(other, other.graph)
    Preset.objects.create(user=owner.user, agent=agent, name="p")
    Schedule.objects.create(user=owner.user, agent=agent, name="s", cron="* * * * *", next_run_at=timezone.now())
    Webhook.objects.create(user=owner.user, agent=agent, path_hash="h")
    StoredValue.objects.create(user=owner.user, graph_id_shared=agent.graph_id_shared, key="k", value=1)
    StoredValue.objects.create(user=owner.user, key="k", value=1)

    services.delete_agent(user_id=owner.user.pk, agent_id=agent.pk)

    assert [set(ids) for ids in asked] == [{running.pk, waiting.pk}]
    assert list(LibraryAgent.objects.all()) == [other]
    assert not Preset.objects.exists()
    assert not Schedule.objects.exists()
    assert not Webhook.objects.exists()
    assert StoredValue.objects.count() == 1
    # The version that ran stays for the record of its runs; nothing runs it any more.
    assert [(row.pk, row.is_active) for row in Graph.objects.filter(graph_id=agent.graph_id_shared)] == [
        (first.pk, False)
    ]
    assert Execution.objects.filter(graph=first, agent=None).count() == 3
    assert Execution.objects.get(pk=elsewhere.pk).agent == other
    with pytest.raises(NotFound):
        save(owner, agent)


@pytest.mark.django_db
def test_deleting_what_never_ran_leaves_nothing(owner, monkeypatch):
    monkeypatch.setattr(hooks, "on_runs_unwanted", [lambda ids: pytest.fail("nothing ran")])
    services.delete_agent(user_id=owner.user.pk, agent_id=new(owner).pk)
    assert not Graph.objects.exists()
    assert not Node.objects.exists()


@pytest.mark.django_db
def test_an_agent_that_runs_a_deleted_one_says_so(owner):
    child = new(owner)
    file = {**echo(), "id": str(child.graph_id_shared)}
    top = services.save_graph(user_id=owner.user.pk, data=graph(entry(), runs("x", file), "in.result -> x.Topic"))
    assert services.problems_of(user_id=owner.user.pk, graph=top, for_run=True) == []
    services.delete_agent(user_id=owner.user.pk, agent_id=child.pk)
    (problem,) = services.problems_of(user_id=owner.user.pk, graph=top, for_run=True)
    assert problem.code == "unknown_agent"


@pytest.mark.django_db
def test_others_agents_can_not_be_run(owner, teammate):
    file = {**echo(), "id": str(new(teammate).graph_id_shared)}
    top = services.save_graph(user_id=owner.user.pk, data=graph(entry(), runs("x", file), "in.result -> x.Topic"))
    assert [each.code for each in services.problems_of(user_id=owner.user.pk, graph=top, for_run=True)] == [
        "unknown_agent"
    ]


@pytest.mark.django_db
def test_changing_one_setting_keeps_the_others(owner):
    agent = new(owner)
    LibraryAgent.objects.filter(pk=agent.pk).update(settings={"odd": [1], "human_in_the_loop_safe_mode": True})
    change = partial(agents.change_agent, user_id=owner.user.pk, agent_id=agent.pk)
    change(settings={"human_in_the_loop_safe_mode": False})
    assert change(is_favorite=True).settings == {"odd": [1], "human_in_the_loop_safe_mode": False}
    assert LibraryAgent.objects.get().settings == {"odd": [1], "human_in_the_loop_safe_mode": False}


@pytest.mark.django_db(transaction=True)
def test_settings_that_change_at_once_are_all_kept(owner):
    agent = new(owner)
    at_once(
        partial(agents.change_agent, user_id=owner.user.pk, agent_id=agent.pk, settings={f"key {number}": number})
        for number in range(6)
    )
    assert LibraryAgent.objects.get().settings == {f"key {number}": number for number in range(6)}


@pytest.mark.django_db
def test_an_agent_goes_into_ones_own_folder_only(owner, teammate):
    agent = new(owner)
    mine = folders.create_folder(user_id=owner.user.pk, name="Mine")
    theirs = folders.create_folder(user_id=teammate.user.pk, name="Mine")
    change = partial(agents.change_agent, user_id=owner.user.pk, agent_id=agent.pk)
    assert change(folder_id=mine.pk).folder_id == mine.pk
    for other in (theirs.pk, uuid4()):
        with pytest.raises(NotFound):
            change(folder_id=other)
    assert change(folder_id=None).folder_id is None


# Folders --------------------------------------------------------------------------------------------------------


def folder(person, name, parent=None):
    return folders.create_folder(user_id=person.user.pk, name=name, parent_id=parent and parent.pk)


@pytest.mark.django_db
def test_names_are_unique_within_a_parent(owner, teammate):
    one = folder(owner, "One")
    folder(teammate, "One")
    folder(owner, "One", one)
    two = folder(owner, "Two")
    for bad in (lambda: folder(owner, "One"), lambda: folder(owner, "One", one)):
        with pytest.raises(FolderNameTaken):
            bad()
    with pytest.raises(FolderNameTaken):
        folders.change_folder(user_id=owner.user.pk, folder_id=two.pk, name="One")
    assert Folder.objects.filter(user=owner.user).count() == 3


@pytest.mark.django_db
def test_a_folder_can_not_lie_within_itself(owner):
    one = folder(owner, "One")
    two = folder(owner, "Two", one)
    three = folder(owner, "Three", two)
    for into in (one, two, three):
        with pytest.raises(FolderMisplaced):
            folders.change_folder(user_id=owner.user.pk, folder_id=one.pk, parent_id=into.pk)
    assert folders.change_folder(user_id=owner.user.pk, folder_id=three.pk, parent_id=one.pk).parent_id == one.pk
    assert folders.change_folder(user_id=owner.user.pk, folder_id=three.pk, parent_id=None).parent_id is None


@pytest.mark.django_db
def test_folders_lie_ten_deep_at_most(owner):
    line = [folder(owner, "0")]
    for depth in range(1, 10):
        line.append(folder(owner, str(depth), line[-1]))
    with pytest.raises(FolderMisplaced):
        folder(owner, "10", line[-1])
    pair = folder(owner, "pair")
    folder(owner, "inner", pair)
    with pytest.raises(FolderMisplaced):
        folders.change_folder(user_id=owner.user.pk, folder_id=pair.pk, parent_id=line[8].pk)
    assert folders.change_folder(user_id=owner.user.pk, folder_id=pair.pk, parent_id=line[7].pk)


@pytest.mark.django_db
def test_others_folders_are_unknown(owner, teammate):
    theirs, mine = folder(teammate, "Theirs"), folder(owner, "Mine")
    for bad in (
        lambda: folder(owner, "x", theirs),
        lambda: folders.change_folder(user_id=owner.user.pk, folder_id=theirs.pk, name="x"),
        lambda: folders.change_folder(user_id=owner.user.pk, folder_id=mine.pk, parent_id=theirs.pk),
        lambda: folders.delete_folder(user_id=owner.user.pk, folder_id=theirs.pk),
    ):
        with pytest.raises(NotFound):
            bad()


@pytest.mark.django_db(transaction=True)
def test_folders_that_move_into_each_other_at_once_make_no_ring(owner):
    for _ in range(5):
        Folder.objects.all().delete()
        one, two = folder(owner, "One"), folder(owner, "Two")
        move = partial(folders.change_folder, user_id=owner.user.pk)
        outcomes = at_once(
            [
                partial(move, folder_id=one.pk, parent_id=two.pk),
                partial(move, folder_id=two.pk, parent_id=one.pk),
            ]
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Folder", "FolderMisplaced"]


@pytest.mark.django_db
def test_agents_outlive_their_folder(owner):
    agent = new(owner)
    outer = folder(owner, "Outer")
    inner = folder(owner, "Inner", outer)
    agents.change_agent(user_id=owner.user.pk, agent_id=agent.pk, folder_id=inner.pk)
    folders.delete_folder(user_id=owner.user.pk, folder_id=outer.pk)
    assert not Folder.objects.exists()
    assert LibraryAgent.objects.get().folder_id is None


# Looking for agents ---------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_search_looks_into_names_and_descriptions_of_active_versions(owner, teammate):
    one = new(owner, name="Bees of the world")
    new(owner, name="Other", description="It knows BEES")
    new(owner, name="Third")
    new(teammate, name="Bees")
    names = lambda **which: {  # noqa: E731
        each.graph.name for each in queries.list_agents(user_id=owner.user.pk, limit=9, offset=0, **which)[0]
    }
    assert names(search="bees") == {"Bees of the world", "Other"}
    save(owner, one, name="Ants")
    assert names(search="bees") == {"Other"}
    agents.change_agent(user_id=owner.user.pk, agent_id=one.pk, is_archived=True)
    assert names(is_archived=True) == {"Ants"}
    assert names(is_archived=False) == {"Other", "Third"}
    assert json.dumps(sorted(names())) == '["Ants", "Other", "Third"]'
