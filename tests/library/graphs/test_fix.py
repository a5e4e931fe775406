"""What is mended in a graph, a test for each fix; what is sound stays as it is."""

from __future__ import annotations

from uuid import UUID

import pytest

from apps.library.graphs import fixes_of_links, fixes_of_values, known, shape
from apps.library.graphs.checks_of_blocks import AgentFacts
from apps.library.graphs.fix import FIXES, fix
from apps.library.graphs.validate import every_problem, validate
from tests.library.graphs import blocks as b
from tests.library.graphs.graphs import data, echo, entry, graph, link, node, result, runs


def mend(step, graph, *more):
    """Apply one fix; a second time it finds nothing to do."""
    told = list(step(graph, *more))
    assert all(sentence.endswith(".") for sentence in told)
    assert list(step(graph, *more)) == []
    return told


def wires(graph):
    return {f"{x.source_id}.{x.source_name} -> {x.sink_id}.{x.sink_name}" for x in graph.links}


def given(graph, node_id):
    return graph.by_id()[node_id].input_default


def of_block(graph, block_id, *without):
    return [each for each in graph.nodes if each.block_id == block_id and each.id not in without]


def test_a_sound_graph_stays_as_it_is():
    sound = shape.read(echo())
    sound.nodes[1].metadata["position"] = {"x": 900, "y": 0}
    mended, told = fix(sound)
    assert [sentence for sentence in told if "reused" not in sentence] == []  # an input's value is reused
    assert [each.is_static for each in mended.links] == [True]
    assert not sound.links[0].is_static  # the graph that was given isn't changed


def test_every_fix_is_in_the_list_once():
    assert len(FIXES) == len(set(FIXES)) == 17


def test_1_ids():
    found = data(entry(), result(), links=[link("in.result -> out.value", id="first")], id="mine")
    told = mend(fixes_of_values.fix_ids, found)
    assert len(told) == 2
    assert UUID(found.id).version == UUID(found.links[0].id).version == 4
    assert [each.id for each in found.nodes] == ["in", "out"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Write of {topic}, {tone}.", "Write of {{topic}}, {{tone}}."),
        ("Write of {{topic}}.", "Write of {{topic}}."),
        ('{"a": 1} {not this} {{{x}}}', '{"a": 1} {not this} {{{x}}}'),
    ],
)
def test_2_braces(before, after):
    found = data(node("x", b.TEXT_GENERATOR, prompt=before), node("y", b.TEMPLATE, format=before))
    told = mend(fixes_of_values.fix_braces, found)
    assert given(found, "x")["prompt"] == given(found, "y")["format"] == after
    assert len(told) == (2 if before != after else 0)


def test_2_braces_of_code_are_left_alone_and_linked_values_are_put_in():
    found = data(
        entry(),
        node("x", b.TEXT_GENERATOR, prompt="On {{topic}}."),
        node("t", b.TEMPLATE, format="print({x})"),
        node("c", known.EXECUTE_CODE),
        "in.result -> x.prompt_values_#_topic",
        "in.result -> x.prompt_values_#_tone",
        "t.output -> c.code",
    )
    told = mend(fixes_of_values.fix_braces, found)
    assert given(found, "x")["prompt"] == "On {{topic}}.\n{{tone}}"
    assert given(found, "t")["format"] == "print({x})"
    assert len(told) == 1


def test_3_what_a_condition_compares_with_is_stored():
    found = data(entry(), node("c", known.CONDITION, operator="=="), "in.result -> c.value1", "in.result -> c.value2")
    assert len(mend(fixes_of_links.fix_conditions, found)) == 1
    (keeper,) = of_block(found, known.STORE_VALUE)
    assert wires(found) == {
        "in.result -> c.value1",
        f"in.result -> {keeper.id}.input",
        f"{keeper.id}.output -> c.value2",
    }


def gathering(*more):
    return data(node("s", b.STEP, items=[1]), node("l", known.ADD_TO_LIST), "s.item -> l.entry", *more)


def test_4_a_list_that_gathers_begins_empty_and_comes_back():
    found = gathering(node("m", known.CREATE_LIST, values=[]), "m.list -> l.list")
    assert len(mend(fixes_of_links.fix_lists, found)) == 2
    assert of_block(found, known.CREATE_LIST) == []
    (beginning,) = of_block(found, known.ADD_TO_LIST, "l")
    assert beginning.input_default == {"list": [], "entries": []}
    assert wires(found) == {"s.item -> l.entry", f"{beginning.id}.updated_list -> l.list", "l.updated_list -> l.list"}
    assert validate(found, for_run=True) == []


@pytest.mark.parametrize(
    "more",
    [
        ("l.updated_list -> l.list", "s.item -> l.list"),  # goes on with its own already
        (node("k", known.STORE_VALUE, input=[]), "k.output -> l.list"),  # has a list to add to
    ],
)
def test_4_other_lists_are_left_alone(more):
    assert mend(fixes_of_links.fix_lists, gathering(*more)) == []


def test_4_a_list_without_fresh_values_would_go_round_alone():
    found = data(entry(), node("l", known.ADD_TO_LIST), "in.result -> l.entry")
    assert mend(fixes_of_links.fix_lists, found) == []


def test_4_a_list_maker_that_feeds_others_stays():
    found = gathering(
        node("m", known.CREATE_LIST, values=[]), node("c", b.COUNT), "m.list -> l.list", "m.list -> c.collection"
    )
    mend(fixes_of_links.fix_lists, found)
    assert len(of_block(found, known.CREATE_LIST)) == 1
    assert "m.list -> c.collection" in wires(found)
    assert "m.list -> l.list" not in wires(found)


def test_5_half_made_lists_are_not_mailed():
    found = gathering(node("g", known.GMAIL_SEND), "l.updated_list -> l.list", "l.updated_list -> g.to")
    assert len(mend(fixes_of_links.fix_lists_for_mail, found)) == 1
    assert "l.updated_list -> l.list" not in wires(found)
    assert mend(fixes_of_links.fix_lists_for_mail, gathering("l.updated_list -> l.list")) == []


def test_6_a_dictionary_begins_empty_by_itself():
    found = data(
        node("m", known.CREATE_DICTIONARY, values={}),
        node("d", known.ADD_TO_DICTIONARY, key="k", value=1),
        "m.dictionary -> d.dictionary",
    )
    assert len(mend(fixes_of_links.fix_dictionaries, found)) == 1
    assert [each.id for each in found.nodes] == ["d"]
    assert found.links == []


def test_7_what_code_prints_comes_out():
    found = data(node("c", known.EXECUTE_CODE), result(), "c.response -> out.value")
    assert len(mend(fixes_of_links.fix_code_output, found)) == 1
    assert wires(found) == {"c.stdout_logs -> out.value"}


def test_8_a_sample_is_one():
    found = data(
        entry(), node("d", known.DATA_SAMPLING, sample_size=5), "in.result -> d.sample_size", "in.result -> d.data"
    )
    assert len(mend(fixes_of_values.fix_sample_size, found)) == 1
    assert given(found, "d")["sample_size"] == 1
    assert wires(found) == {"in.result -> d.data"}


def test_9_nothing_becomes_a_space():
    found = data(node("r", known.TEXT_REPLACE, text="a", old="a", new=""), node("k", known.TEXT_REPLACE, new="b"))
    assert len(mend(fixes_of_values.fix_replacements, found)) == 1
    assert (given(found, "r")["new"], given(found, "k")["new"]) == (" ", "b")


def test_10_credentials_are_taken_out():
    found = data(node("k", b.KEYED, topic="t", credentials={"id": "x"}))
    assert len(mend(fixes_of_values.fix_credentials, found)) == 1
    assert given(found, "k") == {"topic": "t"}


def test_11_nodes_lie_right_of_what_feeds_them():
    found = data(
        entry(),
        node("a", b.WORDS, metadata={"position": {"x": 100, "y": 7}}),
        node("b", b.COUNT, metadata={"position": {"x": 5000, "y": 1}}),
        node("c", b.COUNT),
        "in.result -> a.text",
        "a.word_count -> b.collection",
        "a.word_count -> c.collection",
        "b.count -> c.collection",
        "c.count -> a.text",
    )
    assert len(mend(fixes_of_values.fix_positions, found)) == 1
    places = {each.id: each.metadata.get("position") for each in found.nodes}
    assert places == {"in": None, "a": {"x": 800, "y": 7}, "b": {"x": 5000, "y": 1}, "c": {"x": 5800, "y": 0}}


def test_12_days_back_are_positive():
    found = data(node("d", known.CURRENT_DATE, offset=-3), node("e", known.CURRENT_DATE, offset="-1"),
                 node("f", known.CURRENT_DATE, offset=2), node("g", known.CURRENT_DATE, offset="soon"))  # fmt: skip
    assert len(mend(fixes_of_values.fix_date_offsets, found)) == 2
    assert [given(found, letter)["offset"] for letter in "defg"] == [3, 1, 2, "soon"]


def test_13_links_to_parts_name_keys_of_objects():
    found = data(
        entry(),
        node("t", b.TEMPLATE, format="x"),
        node("m", known.CREATE_LIST),
        "in.result -> t.values_#_name",
        "in.result -> t.values_#_0",
        "in.result -> m.values_#_name",
        "in.result -> m.values_$_0",
    )
    assert len(mend(fixes_of_links.fix_nested_links, found)) == 2
    assert wires(found) == {"in.result -> t.values_#_name", "in.result -> m.values_$_0"}


def test_14_a_model_that_there_is():
    found = data(node("m", b.MODELLED, prompt="p", model="gone"), node("n", b.MODELLED, prompt="p", model="large"))
    assert len(mend(fixes_of_values.fix_models, found)) == 1
    assert (given(found, "m")["model"], given(found, "n")["model"]) == ("small", "large")


def test_15_links_say_rightly_whether_values_are_reused():
    found = data(
        entry(), node("w", b.WORDS), node("u", "99999999-0000-4000-8000-000000000000"), result(),
        links=[
            link("in.result -> w.text", is_static=False),
            link("w.word_count -> out.value", is_static=True),
            link("u.x -> out.value", is_static=True),
        ],
    )  # fmt: skip
    assert len(mend(fixes_of_links.fix_static_links, found)) == 1
    assert [each.is_static for each in found.links] == [True, False, True]


def test_16_a_converter_stands_between_types_that_differ():
    found = data(node("w", b.WORDS, text="t"), node("s", b.STEP), "w.word_count -> s.items")
    assert len(mend(fixes_of_links.fix_types, found)) == 1
    (converter,) = of_block(found, known.TYPE_CONVERTER)
    assert converter.input_default == {"type": "list"}
    assert wires(found) == {f"w.word_count -> {converter.id}.value", f"{converter.id}.value -> s.items"}
    assert validate(found, for_run=True) == []
    assert "type_mismatch" not in {each.code for each in every_problem(found)}


def test_17_an_mcp_tool_has_a_schema_and_arguments():
    schema = {"properties": {"limit": {"type": "integer", "default": 5}, "q": {"type": "string"}}}
    found = data(node("m", known.MCP_TOOL), node("n", known.MCP_TOOL, tool_input_schema=schema))
    assert len(mend(fixes_of_values.fix_mcp, found)) == 4
    assert given(found, "m") == {"tool_input_schema": {}, "tool_arguments": {}}
    assert given(found, "n")["tool_arguments"] == {"limit": 5}


def test_18_a_node_knows_the_agent_that_it_runs_as_it_is_now():
    child = echo()
    found = data(entry(), runs("x", child), "in.result -> x.inputs_#_Topic")
    schema = {"properties": {"Topic": {}, "Tone": {"default": "dry"}, "New": {}}, "required": ["Topic", "New"]}
    agents = {child["id"]: AgentFacts(version=3, input_schema=schema, output_schema={"properties": {}})}
    told = list(fixes_of_links.fix_agents(found, agents))
    assert given(found, "x") == {
        "graph_id": child["id"], "graph_version": 3, "user_id": "", "inputs": {"Tone": "dry"},
        "input_schema": schema, "output_schema": {"properties": {}},
    }  # fmt: skip
    assert wires(found) == {"in.result -> x.Topic"}
    assert len(told) == 4
    assert "New" in told[-1]
    assert list(fixes_of_links.fix_agents(found, {})) == []


def test_fixes_reach_sub_agents_and_say_nothing_twice():
    child = graph(node("r", known.TEXT_REPLACE, text="a", old="a", new=""), name="Child")
    mended, told = fix(shape.read(graph(entry(), sub_graphs=[child])))
    assert mended.sub_graphs[0].nodes[0].input_default["new"] == " "
    assert len(told) == 1
    assert fix(mended)[1] == []
