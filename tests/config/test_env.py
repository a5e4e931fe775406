"""Settings are parsed strictly, and a wrong one is named in one line."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.env import VARIABLES, read, require


@pytest.mark.parametrize("name", VARIABLES)
def test_every_default_can_be_read(name, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    read(name)
    assert VARIABLES[name].meaning.endswith(".")


WRONG = [
    ("DEBUG", "yes"),
    ("DEBUG", "1"),
    ("DEBUG", ""),
    ("DATABASE_URL", "mysql://x"),
    ("DATABASE_URL", "localhost"),
    ("REDIS_URL", "http://x"),
    ("CELERY_BROKER_URL", "kafka://x"),
    ("OPENAI_BASE_URL", "ftp://x"),
    ("OPENAI_BASE_URL", "example.com/v1"),
    ("TURN_CONCURRENCY", "0"),
    ("TURN_CONCURRENCY", "-1"),
    ("TURN_CONCURRENCY", "many"),
    ("TURN_CONCURRENCY", "1.5"),
    ("TURN_CONCURRENCY", " 5"),
    ("TRUSTED_PROXIES", "-1"),
    ("LEASE_SECONDS", "0"),
    ("LEASE_SECONDS", "-3"),
    ("LEASE_SECONDS", "nan"),
    ("LEASE_SECONDS", "inf"),
    ("LEASE_SECONDS", "1s"),
    ("SIGN_UP_OPEN", "maybe"),
]


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_wrong_value_is_named_in_one_line(name, text, monkeypatch):
    monkeypatch.setenv(name, text)
    with pytest.raises(ImproperlyConfigured) as caught:
        read(name)
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


RIGHT = [
    ("DEBUG", "TRUE", True),
    ("DEBUG", "false", False),
    ("ALLOWED_HOSTS", " a.example, b.example ,", ["a.example", "b.example"]),
    ("TURN_CONCURRENCY", "7", 7),
    ("TRUSTED_PROXIES", "0", 0),
    ("LEASE_SECONDS", "0.5", 0.5),
    ("DATABASE_URL", "postgres://u:p@h/d", "postgres://u:p@h/d"),
    ("OPENAI_BASE_URL", "", ""),
]


@pytest.mark.parametrize(("name", "text", "value"), RIGHT)
def test_a_right_value_is_read(name, text, value, monkeypatch):
    monkeypatch.setenv(name, text)
    assert read(name) == value


def test_a_secret_may_come_from_a_file(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "key").write_text("sk-from-a-file\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    assert read("OPENAI_API_KEY") == "sk-from-a-file"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-direct")
    assert read("OPENAI_API_KEY") == "sk-direct"


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(ImproperlyConfigured, match=r"^OPENAI_API_KEY_FILE: can't read "):
        read("OPENAI_API_KEY")


def test_what_is_required_must_be_set(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "")
    with pytest.raises(ImproperlyConfigured, match=r"^SECRET_KEY is required: "):
        require("SECRET_KEY")
