"""Every page of the library: who sees it, what is on it, and how many queries it takes."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from apps.library.models import Execution, Schedule
from apps.library.models.executions import Status
from tests.library.pages import world

TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="\w+"')
LISTS = ("/library/", "/library/executions/", "/library/schedules/", "/library/reviews/", "/library/credentials/")


def pages_of(person) -> list[str]:
    """Each page about one thing of a person."""
    agent = world.add_agent(person)
    run = world.add_run(agent)
    return [
        f"/library/agents/{agent.pk}/",
        f"/library/agents/{agent.pk}/run",
        f"/library/agents/{agent.pk}/export",
        f"/library/executions/{run.pk}/",
        f"/library/executions/{run.pk}/live",
    ]


def actions_of(person) -> list[str]:
    """Each address that changes one thing of a person."""
    agent = world.add_agent(person)
    run = world.add_run(agent, Status.RUNNING)
    review = world.add_review(world.add_run(agent, Status.REVIEW))
    return [
        f"/library/agents/{agent.pk}/run",
        f"/library/agents/{agent.pk}/settings",
        f"/library/agents/{agent.pk}/mark",
        f"/library/agents/{agent.pk}/delete",
        f"/library/agents/{agent.pk}/versions/1/activate",
        f"/library/presets/{world.add_preset(agent).pk}/delete",
        f"/library/folders/{world.add_folder(person).pk}/delete",
        f"/library/executions/{run.pk}/stop",
        f"/library/schedules/{world.add_schedule(agent).pk}/switch",
        f"/library/schedules/{world.add_schedule(agent).pk}/delete",
        f"/library/reviews/{review.pk}/decide",
    ]


def test_strangers_are_sent_to_sign_in(owner):
    stranger = Client()
    for path in (*LISTS, *pages_of(owner)):
        answer = stranger.get(path)
        assert answer.status_code == 302, path
        assert answer.headers["Location"] == f"/accounts/login/?next={path}"
    for path in actions_of(owner):
        assert stranger.post(path).headers["Location"].startswith("/accounts/login/"), path


def test_a_team_mate_sees_none_of_it(owner, browser, their_browser):
    for path in pages_of(owner):
        assert browser.get(path).status_code == 200, path
        answers = [their_browser.get(path), their_browser.get(_unknown(path))]
        assert {answer.status_code for answer in answers} == {404}, path
        assert TOKEN.sub(b"", answers[0].content) == TOKEN.sub(b"", answers[1].content)
    for path in LISTS:
        assert "Echo" in browser.get(path).content.decode() or path in {"/library/reviews/", "/library/credentials/"}
        assert "Echo" not in their_browser.get(path).content.decode(), path


def test_a_team_mate_changes_none_of_it(owner, their_browser):
    for path in actions_of(owner):
        answers = [their_browser.post(path), their_browser.post(_unknown(path))]
        assert {answer.status_code for answer in answers} == {404}, path


def _unknown(path: str) -> str:
    """The same address of something that nobody has."""
    parts = path.split("/")
    return "/".join([*parts[:3], str(uuid4()), *parts[4:]])


def test_what_changes_wants_a_form(owner, browser):
    paths = actions_of(owner)
    assert {browser.get(path).status_code for path in paths if not path.endswith("/run")} == {405}
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(owner.user)
    assert {careful.post(path).status_code for path in paths} == {403}


def test_pages_are_not_kept_by_caches(owner, browser):
    for path in (*LISTS, *pages_of(owner)):
        assert "no-store" in browser.get(path).headers["Cache-Control"], path


QUERIES = {
    # Session and person are 2 of each.
    "/library/": 18,
    "/library/?q=Echo": 18,
    "/library/executions/": 5,
    "/library/schedules/": 7,
    "/library/reviews/": 4,
}


@pytest.mark.parametrize("path", QUERIES)
def test_lists_take_a_fixed_number_of_queries(owner, browser, path, django_assert_num_queries):
    for count in (1, 2):
        for number in range(count):
            agent = world.add_agent(owner, world.echo_file(f"Echo {count} {number}"))
            world.add_run(agent)
            world.add_run(agent, Status.RUNNING)
            world.add_review(world.add_run(agent, Status.REVIEW))
            world.add_schedule(agent)
            world.add_preset(agent)
            world.add_folder(owner, f"Folder {count} {number}")
        with django_assert_num_queries(QUERIES[path]):
            assert browser.get(path).status_code == 200


def test_pages_of_one_thing_take_a_fixed_number_of_queries(owner, browser, django_assert_max_num_queries):
    agent = world.add_agent(owner)
    run = world.add_run(agent)
    counts = []
    for _ in range(3):
        use = world.add_use(run, 1)
        world.put_out(use, "one", "two")
        world.add_use(run, 0)
        world.add_run(agent)
        world.add_schedule(agent)
        world.add_preset(agent)
        row = []
        paths = (f"/library/agents/{agent.pk}/", f"/library/agents/{agent.pk}/run", f"/library/executions/{run.pk}/")
        for path in paths:
            with django_assert_max_num_queries(30) as captured:
                browser.get(path)
            row.append(len(captured))
        counts.append(row)
    assert counts[0] == counts[1] == counts[2]
    assert counts[0] == [18, 8, 9]


# The library --------------------------------------------------------------------------------------------------------


def test_an_empty_library_helps(browser):
    text = browser.get("/library/").content.decode()
    assert "Your library is empty" in text
    answer = browser.post("/library/examples", follow=True)
    assert "10 examples are in your library" in answer.content.decode()
    assert "Post that you approve" in answer.content.decode()
    again = browser.post("/library/examples", follow=True).content.decode()
    assert "The examples are in your library already." in again
    assert again.count('class="agent-card"') == 11  # one of them runs another one


def test_tiles_say_what_goes_on(owner, browser):
    agent = world.add_agent(owner)
    world.add_run(agent, Status.RUNNING)
    world.add_run(agent, Status.QUEUED)
    world.add_run(agent, Status.FAILED, cost_cents=150)
    old = timezone.now() - timedelta(days=40)
    world.add_run(agent, Status.FAILED, cost_cents=999, started_at=old, ended_at=old)
    world.add_review(world.add_run(agent, Status.REVIEW, cost_cents=100))
    world.add_schedule(agent, "Every morning")
    broken = world.add_schedule(agent, "Every noon")
    Schedule.objects.filter(pk=broken.pk).update(is_enabled=False, disabled_reason="It has no trigger.")
    context = browser.get("/library/").context
    briefing = context["briefing"]
    figures = (briefing.running_total, briefing.reviews_total, briefing.failed_total, briefing.spent_cents)
    assert figures == (2, 1, 1, 250)
    text = browser.get("/library/").content.decode()
    assert "$2.50" in text
    assert "Every morning" in text
    assert re.search(r"Every noon</a>\s+was switched off", text)


def test_search_folders_and_shelves(owner, browser):
    folder = world.add_folder(owner)
    names = {}
    for name in ("Alpha", "Beta", "Gamma"):
        names[name] = world.add_agent(owner, world.echo_file(name))
    names["Alpha"].folder = folder
    names["Alpha"].save()
    browser.post(f"/library/agents/{names['Beta'].pk}/mark", {"is_favorite": "1"})
    browser.post(f"/library/agents/{names['Gamma'].pk}/mark", {"is_archived": "1"})

    def shown(query: str) -> set[str]:
        return {agent.graph.name for agent, _ in browser.get(f"/library/?{query}").context["cards"]}

    assert shown("") == {"Alpha", "Beta"}
    assert shown("q=alp") == {"Alpha"}
    assert shown("show=favorites") == {"Beta"}
    assert shown("show=archived") == {"Gamma"}
    assert shown(f"folder={folder.pk}") == {"Alpha"}
    assert shown("q=%00&page=999999999999&folder=x") == {"Alpha", "Beta"}
    assert "No agent is here for “nothing”" in browser.get("/library/?q=nothing").content.decode()


def test_very_many_runs_are_not_counted_to_their_end(owner, browser, monkeypatch):
    monkeypatch.setattr("apps.library.pages.queries.COUNTED_AHEAD", 40)
    agent = world.add_agent(owner)
    Execution.objects.bulk_create(
        Execution(user=owner.user, agent=agent, graph=agent.graph, root_id=uuid4(), status=Status.COMPLETED)
        for _ in range(95)
    )

    def paging_of(number: int) -> tuple[int, bool, int | None]:
        paging = browser.get(f"/library/executions/?page={number}").context["paging"]
        return paging.pages, paging.has_more, paging.after

    assert paging_of(1) == (3, True, 2)
    assert "Page 1 of more than 3" in " ".join(browser.get("/library/executions/").content.decode().split())
    assert paging_of(2) == (4, False, 3)
    assert paging_of(4) == (4, False, None)
    text = " ".join(browser.get(f"/library/agents/{agent.pk}/").content.decode().split())
    assert "All runs (more than 50)" in text


def test_the_library_comes_in_pages(owner, browser):
    for number in range(25):
        world.add_agent(owner, world.echo_file(f"Agent {number}"))
    first, second = browser.get("/library/"), browser.get("/library/?page=2&q=Agent")
    assert (len(first.context["cards"]), len(second.context["cards"])) == (24, 1)
    assert 'href="?q=Agent&amp;page=1"' in second.content.decode()


def test_folders_are_made_and_deleted(owner, browser):
    assert "is made" in browser.post("/library/folders", {"name": "Work"}, follow=True).content.decode()
    again = browser.post("/library/folders", {"name": "Work"}, follow=True).content.decode()
    assert "There is a folder of that name there already." in again
    assert "Give the folder a name." in browser.post("/library/folders", {"name": " "}, follow=True).content.decode()
    folder = browser.get("/library/").context["folders"][0]
    browser.post(f"/library/folders/{folder.pk}/delete")
    assert browser.get("/library/").context["folders"] == []


def test_the_form_of_keys_offers_the_services_that_blocks_know(browser):
    text = browser.get("/library/credentials/").content.decode()
    for service in ("github", "openai", "smtp"):
        assert f'<option value="{service}"></option>' in text
