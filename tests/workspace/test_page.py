"""The page of files, as it works without JavaScript."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.workspace import services
from apps.workspace.models import File
from apps.workspace.services import Wish

PAGE = "/workspace/"


def store(person, name, content=b"hello", **wish):
    return services.store_file(Wish(user_id=person.user.pk, path=name, **wish), [content])


@pytest.fixture
def browser(owner):
    client = Client()
    client.force_login(owner.user)
    return client


def test_strangers_sign_in_first(db):
    assert Client().get(PAGE)["Location"].startswith("/accounts/login/")


def test_files_are_uploaded_listed_downloaded_and_deleted(browser, owner, teammate):
    store(teammate, "/theirs.txt")
    assert "You have none yet." in browser.get(PAGE).content.decode()
    for _ in range(2):
        form = {"file": SimpleUploadedFile("a <b>.txt", b"hello")}
        assert browser.post(PAGE, form, follow=True).status_code == 200
    page = browser.get(PAGE).content.decode()
    assert "a &lt;b&gt;.txt" in page
    assert "a &lt;b&gt; (2).txt" in page
    assert "theirs" not in page
    assert "10\xa0bytes of 1.0\xa0GB" in page
    file = File.objects.get(name="a <b>.txt")
    assert f"/api/workspace/files/{file.pk}/download" in page
    done = browser.post(f"{PAGE}{file.pk}/delete", follow=True)
    assert "a &lt;b&gt;.txt is deleted." in done.content.decode()
    assert browser.post(f"{PAGE}{file.pk}/delete").status_code == 404
    theirs = File.objects.get(name="theirs.txt")
    assert browser.post(f"{PAGE}{theirs.pk}/delete").status_code == 404


def test_what_is_refused_is_told(browser, settings):
    assert "exactly one file" in browser.post(PAGE, {}, follow=True).content.decode()
    settings.WORKSPACE_FILE_LIMIT_BYTES = 3
    page = browser.post(PAGE, {"file": SimpleUploadedFile("a", b"1234")}, follow=True).content.decode()
    assert "at most 3 bytes" in page
    assert not File.objects.exists()


def test_forms_need_their_token(owner):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner.user)
    file = store(owner, "/a.txt")
    assert client.post(PAGE, {"file": SimpleUploadedFile("b", b"x")}).status_code == 403
    assert client.post(f"{PAGE}{file.pk}/delete").status_code == 403
    client.get(PAGE)
    token = client.cookies["csrftoken"].value
    form = {"file": SimpleUploadedFile("b", b"x"), "csrfmiddlewaretoken": token}
    assert client.post(PAGE, form).status_code == 302
    assert File.objects.live().count() == 2


@pytest.mark.parametrize("rows", [1, 3])
def test_the_page_costs_the_same_however_many_files(browser, owner, rows, django_assert_num_queries):
    for number in range(rows):
        store(owner, f"/{number}.txt")
    with django_assert_num_queries(6):  # browser session, person, page, total, tier, counter
        browser.get(PAGE)


def test_pages_of_files(browser, owner):
    for number in range(27):
        store(owner, f"/{number}.txt", b"")
    first, second = (browser.get(PAGE, {"page": page}).content.decode() for page in (1, 2))
    assert "Page 1 of 2" in first
    assert first.count("Delete for good") == 0
    assert (first.count('class="row-main"'), second.count('class="row-main"')) == (25, 2)
    for odd in ("0", "x", "-1"):
        assert "Page 1 of 2" in browser.get(PAGE, {"page": odd}).content.decode()
    assert browser.get(PAGE, {"page": 9})["Location"] == "/workspace/?page=2"
