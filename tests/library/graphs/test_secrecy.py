"""Secrets are found by their names and their looks, told by their place, and taken out."""

from __future__ import annotations

import json
import time

import pytest

from apps.library.graphs import known, secrecy, shape
from tests.library.graphs import blocks as b
from tests.library.graphs.graphs import data, entry, graph, node

KEY = "sk-" + "a1B2" * 10
LOOKS = [
    KEY,
    "sk_live_" + "a" * 24,
    "ghp_" + "a1" * 18,
    "github_pat_" + "a1" * 18,
    "xoxb-" + "1" * 12,
    "AKIA" + "ABCD" * 4,
    "AIza" + "x" * 35,
    "eyJ" + "a" * 20 + "." + "b" * 20 + "." + "c" * 20,
    "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-256-CBC\n\nMIIEow==\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize(
    "name",
    ["api_key", "API Key", "openai-api-key", "password", "smtp_password", "Authorization", "token", "access_token",
     "my_credentials", "credentials", "secret_token", "private_key", "values_#_token"],
)  # fmt: skip
def test_names_of_secrets(name):
    assert secrecy.is_secret_name(name)


@pytest.mark.parametrize("name", ["max_tokens", "tokens", "tokenizer", "prompt", "key", "title", "monkey", "pass"])
def test_other_names(name):
    assert not secrecy.is_secret_name(name)


@pytest.mark.parametrize("secret", LOOKS)
def test_what_looks_like_a_secret_goes_wherever_it_is(secret):
    found = data(
        node("x", b.TEXT_GENERATOR, prompt=f"Use ({secret}) please.", prompt_values={"deep": [{"er": secret}]},
             metadata={"customized_name": secret}),
        description=f"Key: {secret}",
    )  # fmt: skip
    problems = secrecy.strip(found)
    assert secret not in json.dumps(found.as_json())
    assert found.nodes[0].input_default["prompt"] == f"Use ({secrecy.REMOVED}) please."
    assert {(each.node_id, each.pin) for each in problems} == {
        ("", ""),
        ("x", "prompt"),
        ("x", "prompt_values"),
        ("x", "metadata"),
    }
    assert not any(secret in json.dumps(each.as_json()) for each in problems)


def test_values_with_names_of_secrets_go_unless_they_are_switches():
    found = data(
        node("x", b.TEMPLATE, format="f", values={"password": "hunter2", "token": 5, "use_token": True, "max_tokens": 9,
                                                  "api_key": "", "headers": {"Authorization": "Bearer x"}}),
    )  # fmt: skip
    problems = secrecy.strip(found)
    values = found.nodes[0].input_default["values"]
    assert values == {"use_token": True, "max_tokens": 9, "api_key": "", "headers": {}}
    assert {each.message for each in problems if "values.password" in each.message}
    assert len(problems) == 3
    assert not any("hunter2" in each.message for each in problems)


def test_a_chosen_credential_goes_without_a_warning():
    found = data(node("x", b.KEYED, topic="t", credentials={"id": "1", "provider": "acme", "type": "api_key"}))
    assert secrecy.strip(found) == []
    assert found.nodes[0].input_default == {"topic": "t"}


def test_values_of_secret_inputs_go():
    found = data(
        entry("a", "Pass", secret=True, value="hunter2"),
        entry("b", "OpenAI API key", value="hunter2"),
        entry("c", "Use token", value=True),
        entry("d", "Topic", value="bees"),
    )
    assert {each.node_id for each in secrecy.strip(found)} == {"a", "b"}
    assert [each.input_default.get("value") for each in found.nodes] == [None, None, True, "bees"]


def test_schemas_keep_their_pins_and_lose_defaults_of_secrets():
    schema = {
        "properties": {
            "api_key": {"type": "string", "default": "hunter2"},
            "Pin": {"type": "string", "secret": True, "default": "hunter2"},
            "Tone": {"type": "string", "default": "dry"},
            "nested": {"type": "object", "properties": {"password": {"default": "hunter2"}}},
        },
        "required": ["api_key"],
    }
    found = data(
        node("x", known.AGENT_EXECUTOR, graph_id="g", graph_version=1, user_id="somebody",
             inputs={"api_key": "hunter2"}, input_schema=schema, output_schema={"properties": {"token": {}}}),
    )  # fmt: skip
    problems = secrecy.strip(found)
    given = found.nodes[0].input_default
    assert "hunter2" not in json.dumps(given)
    assert given["input_schema"]["properties"]["Tone"]["default"] == "dry"
    assert list(given["input_schema"]["properties"]) == ["api_key", "Pin", "Tone", "nested"]
    assert given["output_schema"] == {"properties": {"token": {}}}
    assert "user_id" not in given
    assert len(problems) == 4


def test_secrets_of_sub_agents_are_found():
    child = graph(node("x", b.TEMPLATE, format=KEY), name="Child")
    found = shape.read(graph(entry(), sub_graphs=[child]))
    (problem,) = secrecy.strip(found)
    assert (problem.graph, problem.node_id) == ("Child", "x")


@pytest.mark.parametrize("text", ["sk-" * 300_000, "eyJ" * 300_000, "eyJ" + "a." * 400_000, "-----BEGIN " * 80_000])
def test_long_texts_take_no_long_time(text):
    began = time.perf_counter()
    secrecy.strip(data(node("x", b.TEMPLATE, format=text)))
    assert time.perf_counter() - began < 2
