"""`manage.py doctor`."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from config import diagnosis
from config.diagnosis import State
from config.settings.base import database
from tests.services import free_port

pytestmark = pytest.mark.django_db


def report(*, online: bool = False) -> dict[str, diagnosis.Finding]:
    return {finding.subject: finding for finding in diagnosis.diagnose(online=online)}


@pytest.fixture(autouse=True)
def nothing_configured(settings, tmp_path, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(diagnosis, "why_unavailable", lambda: "")  # it remembers what it found, and so does the suite
    for name in ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        setattr(settings, name, "")


@pytest.fixture
def compatible_server(settings, model):
    settings.OPENAI_API_KEY = "sk-very-secret"
    settings.OPENAI_BASE_URL = f"{model.url}/v1"


def test_a_sound_installation_has_nothing_wrong(capsys):
    call_command("doctor")

    out = capsys.readouterr().out
    assert "WRONG" not in out
    assert out.endswith("Nothing is wrong.\n")


def test_each_line_says_what_to_do_and_the_end_tells_scripts(capsys, settings):
    settings.ALLOWED_HOSTS = ["*"]

    with pytest.raises(SystemExit) as ending:
        call_command("doctor")

    out = capsys.readouterr().out
    assert ending.value.code == 1
    assert "WRONG  Host names    every name is answered to. Name your own hosts in ALLOWED_HOSTS.\n" in out
    assert out.endswith("1 wrong.\n")


def test_the_demo_model_is_called_what_it_is():
    assert "it is not an AI" in report()["Model"].text


def test_a_redis_that_does_not_answer_is_wrong(settings):
    settings.REDIS_URL = f"redis://:hidden@127.0.0.1:{free_port()}/0"

    found = report()["Redis"]

    assert found.state is State.WRONG
    assert "hidden" not in f"{found}"


def test_no_redis_at_all_is_wrong(monkeypatch):
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert report()["Redis"].remedy == "Install the package `redis-server`, or set REDIS_URL."


def test_a_broker_that_does_not_answer_is_wrong(monkeypatch, settings):
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://guest:hidden@127.0.0.1:1//")
    settings.CELERY_BROKER_URL = "amqp://guest:hidden@127.0.0.1:1//"
    monkeypatch.setattr(diagnosis, "probe_broker", lambda: "OperationalError")

    found = report()["Broker"]

    assert (found.state, found.text) == (State.WRONG, "amqp://127.0.0.1:1 can't be used (OperationalError)")


def test_missing_migrations_are_wrong(monkeypatch):
    monkeypatch.setattr(diagnosis.MigrationExecutor, "migration_plan", lambda self, targets: [1, 2])

    assert report()["Database"].remedy == "Run `manage.py migrate`."


def test_a_model_server_on_this_machine_is_wrong_unless_allowed(settings, compatible_server):
    assert report()["Model server"].state is State.FINE

    settings.CHAT_ALLOW_LOCAL_MODEL_HOSTS = False

    assert report()["Model server"].state is State.WRONG


def test_keys_are_never_shown(capsys, compatible_server):
    call_command("doctor", "--online")

    out = capsys.readouterr().out
    assert "sk-very-secret" not in out
    assert "gpt-4o, advanced: gpt-4o, at http://127.0.0.1" in out


def test_a_model_server_is_asked_only_when_told_to(settings):
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{free_port()}/v1"

    assert "Model online" not in report()
    assert report(online=True)["Model online"].state is State.WRONG


def test_who_thinks_is_told(settings):
    assert "not an AI" in report()["Thinking"].text

    settings.ANTHROPIC_API_KEY = "sk-ant"
    found = report()
    assert "claude-sonnet" in found["Model"].text
    assert (found["Thinking"].state, found["Thinking"].text) == (
        State.NOTE,
        "this engine answers in the fast mode, too",
    )

    settings.OPENAI_API_KEY = "sk"
    found = report()
    assert "gpt-4o" in found["Model"].text
    assert "claude-sonnet" in found["Thinking"].text
    assert "api.anthropic.com" in found["Thinking"].text

    settings.ANTHROPIC_API_KEY = ""
    assert report()["Thinking"].text == "the fast engine answers in this mode, too"


def test_anthropics_server_is_asked_in_its_own_way(settings, model):
    settings.ANTHROPIC_BASE_URL = model.anthropic_url

    assert report(online=True)["Model online"].state is State.FINE

    settings.ANTHROPIC_BASE_URL = f"http://127.0.0.1:{free_port()}"
    assert "ANTHROPIC_BASE_URL" in report(online=True)["Model online"].remedy


def test_a_var_folder_that_others_may_read_is_pointed_out(tmp_path):
    tmp_path.chmod(0o755)

    assert report()["Var folder"].state is State.NOTE


def test_a_short_secret_key_is_wrong(monkeypatch, settings):
    monkeypatch.setenv("SECRET_KEY", "short")
    settings.SECRET_KEY = "short"

    assert report()["Secret key"].state is State.WRONG


def test_passwords_in_drivers_messages_are_left_out(settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES, "default", database("postgres://somebody:hunter2@127.0.0.1/x"))

    assert (
        diagnosis._without_secrets(OSError("could not reach hunter2@somewhere\nmore")) == "could not reach …@somewhere"
    )


def test_code_that_can_be_run_is_fine():
    assert report()["Sandbox"].state is State.FINE


@pytest.mark.parametrize(("namespaces", "words"), [(True, "Until it is mended"), (False, "user namespaces")])
def test_why_there_is_no_sandbox_is_told_in_words(monkeypatch, namespaces, words):
    monkeypatch.setattr(diagnosis, "why_unavailable", lambda: "bubblewrap can't make a sandbox here (Operation).")
    monkeypatch.setattr(diagnosis, "user_namespaces_work", lambda: namespaces)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    found = report()["Sandbox"]

    assert (found.state, words in found.remedy) == (State.NOTE, True)
    assert found.text == "code can't be run. bubblewrap can't make a sandbox here (Operation)"
