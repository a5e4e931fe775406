"""What is computed from a graph: what it takes, gives and needs."""

from __future__ import annotations

from apps.library.graphs import known, schemas
from tests.library.graphs import blocks as b
from tests.library.graphs.graphs import data, entry, node, result


def test_an_input_without_a_value_is_required_and_one_with_a_value_has_a_default():
    found = schemas.input_schema(
        data(
            entry("a", "Topic", description="What about", title="The topic"),
            node("b", b.SHORT_TEXT, name="Tone", value="dry", advanced=True),
            node("c", b.NUMBER, name="Count", value=None),
            node("d", b.TOGGLE, name="Loud"),
            entry("e", "Pass", secret=True),
        )
    )
    assert found["type"] == "object"
    assert found["required"] == ["Topic", "Count", "Pass"]
    topic, tone = found["properties"]["Topic"], found["properties"]["Tone"]
    assert (topic["title"], topic["description"], topic["secret"]) == ("The topic", "What about", False)
    assert "default" not in topic
    assert "advanced" not in topic
    assert (tone["title"], tone["type"], tone["default"], tone["advanced"]) == ("Tone", "string", "dry", True)
    assert found["properties"]["Count"]["type"] == "integer"
    assert found["properties"]["Loud"] == {"type": "boolean", "title": "Loud", "secret": False, "default": False,
                                           "advanced": False}  # fmt: skip
    assert found["properties"]["Pass"]["secret"] is True


def test_choices_become_an_enum_also_under_their_old_name_at_plain_inputs():
    found = schemas.input_schema(
        data(
            node("a", known.DROPDOWN_INPUT, name="Size", options=["S", "L"]),
            entry("b", "Colour", placeholder_values=["red", "blue"]),
            node("c", known.DROPDOWN_INPUT, name="None", options=[]),
            entry("d", "Free", placeholder_values=[]),
        )
    )["properties"]
    assert found["Size"]["enum"] == ["S", "L"]
    assert found["Colour"]["enum"] == ["red", "blue"]
    assert "enum" not in found["None"]
    assert "enum" not in found["Free"]


def test_a_table_says_what_its_columns_are():
    found = schemas.input_schema(data(node("a", known.TABLE_INPUT, name="Rows", column_headers=["Who", "What"])))
    assert found["properties"]["Rows"]["column_headers"] == ["Who", "What"]


def test_outputs_have_their_names():
    found = schemas.output_schema(data(result("a", "Results!"), result("b", "User's Email"), result("c", "Results!")))
    assert list(found["properties"]) == ["Results!", "User's Email"]


def test_a_node_without_a_name_is_nobodys_input():
    assert schemas.input_schema(data(node("a", known.AGENT_INPUT)))["properties"] == {}
    assert schemas.input_schema(data(node("a", known.AGENT_INPUT, name=5)))["properties"] == {}


def test_credentials_are_asked_for_once_a_provider_and_type():
    found = schemas.credentials_schema(
        data(node("a", b.KEYED, topic="x"), node("b", b.KEYED, topic="y"), node("c", known.SEND_EMAIL))
    )
    assert sorted(found["required"]) == ["acme_api_key_credentials", "smtp_user_password_credentials"]
    acme = found["properties"]["acme_api_key_credentials"]
    assert acme["credentials_provider"] == ["acme"]
    assert acme["credentials_types"] == ["api_key"]
    assert acme["credentials_scopes"] == ["read"]
    assert acme["used_by"] == [{"node_id": "a", "pin": "credentials"}, {"node_id": "b", "pin": "credentials"}]


def test_credentials_of_sub_agents_are_asked_for_too():
    graph = data(node("a", b.KEYED, topic="x"))
    graph.sub_graphs = [data(node("b", b.KEYED, topic="y"), node("c", known.SEND_EMAIL))]
    found = schemas.credentials_schema(graph)
    assert sorted(found["required"]) == ["acme_api_key_credentials", "smtp_user_password_credentials"]
    assert [use["node_id"] for use in found["properties"]["acme_api_key_credentials"]["used_by"]] == ["a", "b"]


def test_credentials_are_not_required_where_they_are_optional_or_chosen():
    chosen = {"id": "8b2a7b3c-6e9d-4a5f-8c1b-2e3f4a5b6c7d", "provider": "acme", "type": "api_key"}
    optional = node("a", b.KEYED, metadata={"credentials_optional": True})
    assert schemas.credentials_schema(data(optional))["required"] == []
    assert schemas.credentials_schema(data(node("a", b.KEYED, credentials=chosen)))["required"] == []
    both = data(optional, node("b", b.KEYED))
    assert schemas.credentials_schema(both)["required"] == ["acme_api_key_credentials"]


def test_what_kind_of_agent_it_is():
    plain = schemas.facts(data(entry()))
    assert not plain["has_human_in_the_loop"]
    assert not plain["has_sensitive_action"]
    assert not plain["has_external_trigger"]
    assert plain["trigger_setup_info"] is None
    full = schemas.facts(data(node("a", b.HUMAN), node("b", known.SEND_EMAIL), node("c", b.TRIGGER)))
    assert full["has_human_in_the_loop"]
    assert full["has_sensitive_action"]
    assert full["has_external_trigger"]
    info = full["trigger_setup_info"]
    assert (info["provider"], info["node_id"]) == ("generic", "c")
    assert "constants" in info["config_schema"]["properties"]
    assert "payload" not in info["config_schema"]["properties"]
