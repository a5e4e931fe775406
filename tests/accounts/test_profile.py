"""The page on which people say who they are and what their clock is."""

import pytest
from django.test import Client

PAGE = "/settings/profile"
GOOD = {"name": "Ada", "time_zone": "Europe/Berlin", "about": "Engines."}


@pytest.fixture
def browser(owner):
    browser = Client()
    browser.force_login(owner.user)
    return browser


def test_it_shows_what_is_stored_and_stores_what_is_sent(browser, owner):
    assert browser.get(PAGE).status_code == 200
    answer = browser.post(PAGE, GOOD)
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    owner.user.refresh_from_db()
    assert (owner.user.name, owner.user.time_zone, owner.user.about) == ("Ada", "Europe/Berlin", "Engines.")
    text = browser.get(PAGE).content.decode()
    assert 'value="Ada"' in text
    assert "Engines.</textarea>" in text


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("time_zone", "Mars/Base", "This time zone isn&#x27;t known here."),
        ("time_zone", "", "This field is required."),
        ("name", "x" * 151, "at most 150 characters"),
        ("about", "x" * 4001, "at most 4000 characters"),
    ],
)
def test_what_can_not_be_is_refused_and_kept_in_the_form(browser, owner, field, value, told):
    answer = browser.post(PAGE, GOOD | {field: value})
    assert answer.status_code == 400
    assert told in answer.content.decode()
    assert "Engines." in answer.content.decode() or field == "about"
    owner.user.refresh_from_db()
    assert owner.user.name != "Ada"


def test_strangers_sign_in_first(client):
    answer = client.get(PAGE)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")
