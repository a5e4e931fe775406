"""What is found wrong with a graph, a test for each check."""

from __future__ import annotations

import time

import pytest

from apps.library.graphs import known, shape
from apps.library.graphs.checks_of_blocks import AgentFacts
from apps.library.graphs.fix import fix
from apps.library.graphs.problems import Stops
from apps.library.graphs.validate import every_problem, validate
from tests.library.graphs import blocks as b
from tests.library.graphs.graphs import codes, data, echo, entry, graph, link, node, result, runs

STRANGE = "99999999-0000-4000-8000-000000000000"


def only(problems):
    """Return the one problem that is more than advice about missing inputs and outputs."""
    found = [each for each in problems if each.code not in {"no_input", "no_output"}]
    assert len(found) == 1, found
    assert found[0].message
    assert found[0].remedy
    return found[0]


def test_a_sound_graph_has_no_problems():
    assert every_problem(shape.read(echo())) == []


def test_an_agent_without_nodes_is_kept_but_does_not_run():
    assert validate(data(), for_run=False) == []
    assert codes(validate(data(), for_run=True)) == {"no_nodes"}


# 1: blocks ------------------------------------------------------------------------------------------------------


def test_an_unknown_block_is_named_and_keeps_the_graph_from_running_only():
    found = data(
        entry(),
        node("x", STRANGE, metadata={"customized_name": "My thing"}),
        node("y", "6ab085e2-20b3-4055-bc3e-08036e01eca6"),
        result(),
        "in.result -> x.whatever",
        "x.anything_#_at all -> out.value",
    )
    assert validate(found, for_run=False) == []
    one, two = validate(found, for_run=True)
    assert (one.code, one.node_id, one.stops) == ("unknown_block", "x", Stops.RUN)
    assert STRANGE in one.message
    assert "My thing" in one.message
    assert "Ideogram Model" in two.message


def test_a_disabled_block_does_not_run(monkeypatch, blocks):
    monkeypatch.setattr(type(blocks[b.WORDS]), "disabled", True)
    found = data(node("x", b.WORDS, text="one two"))
    problem = only(validate(found, for_run=True))
    assert (problem.code, problem.node_id) == ("disabled_block", "x")
    assert validate(found, for_run=False) == []


# 2: links -------------------------------------------------------------------------------------------------------


def test_a_link_to_nowhere_names_itself():
    found = data(entry(), result(), links=[link("in.result -> gone.value", id="the link")])
    problem = only(validate(found, for_run=False))
    assert (problem.code, problem.link_id, problem.node_id) == ("unknown_node", "the link", "gone")
    assert "sink_id" in problem.message


def test_nodes_and_links_have_one_id_each():
    twice = [link("in.result -> out.value", id="L"), link("in.result -> out.value", id="L")]
    found = validate(data(entry("in"), entry("in", "Other"), result(), links=twice), for_run=False)
    assert {(problem.code, problem.node_id, problem.link_id) for problem in found} == {
        ("duplicate_id", "in", ""),
        ("duplicate_id", "", "L"),
    }


# 3: required inputs ---------------------------------------------------------------------------------------------


def test_a_required_input_needs_a_value_a_link_or_a_mask():
    lacking = data(node("x", b.WORDS))
    problem = only(validate(lacking, for_run=True))
    assert (problem.code, problem.node_id, problem.pin, problem.stops) == ("missing_input", "x", "text", Stops.RUN)
    assert validate(lacking, for_run=False) == []
    assert validate(lacking, for_run=True, masks={"x": {"text": "hello"}}) == []
    assert validate(data(node("x", b.WORDS, text="hello")), for_run=True) == []
    assert validate(data(node("x", b.WORDS, text=None)), for_run=True) != []
    assert validate(data(entry(), node("x", b.WORDS), "in.result -> x.text"), for_run=True) == []
    assert (
        validate(data(entry(), node("x", b.TEMPLATE, format="{{a}}"), "in.result -> x.values_#_a"), for_run=True) == []
    )


def test_inputs_and_outputs_are_whole_when_saved():
    found = validate(data(node("x", known.AGENT_INPUT), node("y", b.OUTPUT)), for_run=False)
    assert {(problem.code, problem.node_id, problem.pin) for problem in found} == {
        ("missing_input", "x", "name"),
        ("missing_input", "y", "name"),
    }


def test_credentials_are_not_missed_and_notes_never_are():
    assert validate(data(node("x", b.KEYED, topic="t"), node("n", b.NOTE)), for_run=True) == []


def test_what_a_sub_agent_needs_is_needed():
    child = echo()
    lacking = data(runs("x", child))
    assert only(validate(lacking, for_run=False)).pin == "Topic"
    given = data(runs("x", child))
    given.nodes[0].input_default["inputs"] = {"Topic": "bees"}
    assert validate(given, for_run=False) == []
    assert validate(data(entry(), runs("x", child), "in.result -> x.Topic"), for_run=False) == []


# 4: types -------------------------------------------------------------------------------------------------------


def test_types_that_differ_are_told_and_stop_nothing():
    found = data(node("x", b.WORDS, text="t"), node("y", b.STEP), "x.word_count -> y.items")
    problem = only(every_problem(found))
    assert (problem.code, problem.node_id, problem.pin, problem.stops) == ("type_mismatch", "y", "items", Stops.NOTHING)
    assert "integer" in problem.message
    assert "array" in problem.message
    assert validate(found, for_run=True) == []


@pytest.mark.parametrize(
    "wire",
    [
        "x.word_count -> c.value1",  # takes anything
        "n.result -> f.row_limit",  # both whole numbers
        "u.anything -> y.items",  # nobody knows what comes
    ],
)
def test_types_that_fit_or_are_not_known_pass(wire):
    found = data(
        node("x", b.WORDS, text="t"),
        node("n", b.NUMBER, name="N"),
        node("u", STRANGE),
        node("c", known.CONDITION, operator="==", value1=1, value2=2),
        node("f", known.FILE_READ, file_input="x"),
        node("y", b.STEP),
        wire,
    )
    assert "type_mismatch" not in codes(every_problem(found))


# 5 and 6: pins --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "code", "node_id"),
    [
        ("in.result -> w.words", "unknown_input", "w"),
        ("in.result -> w.values_#_a", "unknown_input", "w"),
        ("in.reslut -> w.text", "unknown_output", "in"),
        ("in.tools_^_x_~_y -> w.text", "unknown_output", "in"),
        ("in.result_#_a_$_0 -> w.text_@_b", "", ""),
        ("w.error -> in.value", "", ""),
    ],
)
def test_pins_exist(wire, code, node_id):
    found = data(entry(), node("w", b.WORDS, text="t"), result(), wire)
    problems = validate(found, for_run=False)
    if not code:
        assert problems == []
        return
    problem = only(problems)
    assert (problem.code, problem.node_id) == (code, node_id)
    assert problem.pin in wire
    assert "Use one of its" in problem.remedy


def test_links_into_credentials_are_refused():
    found = data(entry(), node("k", b.KEYED, topic="t"), "in.result -> k.credentials")
    assert only(validate(found, for_run=False)).code == "linked_credentials"


def test_a_part_that_an_object_lacks_is_told(monkeypatch, blocks):
    executor = {
        "type": "object",
        "properties": {
            "who": {"type": "object", "properties": {"name": {"type": "string"}}},
            "free": {"type": "object"},
            "either": {"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "null"}]},
            "people": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        },
    }
    child = node(
        "x", known.AGENT_EXECUTOR, graph_id="g", graph_version=1, input_schema=executor, output_schema=executor
    )
    wires = [
        "in.result -> x.who_#_name",
        "in.result -> x.who_#_age",
        "in.result -> x.free_#_age",
        "in.result -> x.either_#_age",
        "x.who_#_age -> out.value",
        "x.people_#_name -> out.value",
        "x.people_#_age -> out.value",
        "x.people_$_0 -> out.value",
    ]
    found = every_problem(data(entry(), child, result(), *wires))
    assert {(each.code, each.pin) for each in found} == {
        ("unknown_part_of_input", "who_#_age"),
        ("unknown_part_of_output", "who_#_age"),
        ("unknown_part_of_output", "people_#_age"),
    }
    assert all(each.stops == Stops.NOTHING for each in found)


def test_pins_of_a_sub_agent_are_its_own_names():
    child = graph(entry("a", "User's Email"), result("b", "Results!"), "a.result -> b.value")
    sound = data(entry(), runs("x", child), result(), "in.result -> x.User's Email", "x.Results! -> out.value")
    assert validate(sound, for_run=True) == []
    wrong = data(entry(), runs("x", child), result(), "in.result -> x.User's Email", "x.Result -> out.value")
    assert only(validate(wrong, for_run=False)).pin == "Result"


def test_tools_of_an_orchestrator_are_pins():
    found = data(
        node("o", known.ORCHESTRATOR, prompt="go"),
        node("w", b.WORDS),
        "o.tools_^_word_count_~_text -> w.text",
        "o.tools -> w.text",
    )
    assert validate(found, for_run=True) == []


def test_schemas_of_strangers_may_go_round():
    loop = {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 50}}, "type": "object", "required": "all",
            "properties": {"p": {"$ref": "#/$defs/a"}, "q": {"type": [{}, "string"]}, "r": 5}}  # fmt: skip
    child = node("x", known.AGENT_EXECUTOR, graph_id="g", graph_version=1, input_schema=loop, output_schema=loop)
    found = data(entry(), child, *(f"in.result -> x.{pin}" for pin in ("p_#_k", "q", "r_#_k", "p", "r")))
    assert validate(found, for_run=True) == []


# 7 to 11: certain blocks ----------------------------------------------------------------------------------------


def test_spaces_in_the_braces_of_a_prompt_are_told():
    found = data(node("x", b.TEXT_GENERATOR, prompt="About {{ topic }} and {{tone}}", sys_prompt="{{ x }}"))
    problem = only(every_problem(found))
    assert (problem.code, problem.node_id, problem.pin) == ("spaces_in_braces", "x", "prompt")
    assert "{{topic}}" in problem.remedy


def test_a_graph_without_input_or_output_is_told():
    assert codes(every_problem(data(node("w", b.WORDS, text="t")))) == {"no_input", "no_output"}
    assert codes(every_problem(data(node("w", b.TRIGGER), result(value="x")))) == set()
    assert codes(every_problem(data(node("w", b.NUMBER, name="N"), result(value="x")))) == set()


@pytest.mark.parametrize("name", ["credentials", "my_credentials"])
def test_names_of_credentials_are_reserved(name):
    problem = only(validate(data(entry("in", name)), for_run=False))
    assert (problem.code, problem.node_id, problem.pin) == ("reserved_name", "in", "name")


def test_a_node_that_runs_an_agent_has_its_schemas():
    found = data(node("x", known.AGENT_EXECUTOR, graph_id="g", graph_version=1, input_schema={}, output_schema={}))
    assert [(each.code, each.pin) for each in validate(found, for_run=True)] == [
        ("no_agent_schema", "input_schema"),
        ("no_agent_schema", "output_schema"),
    ]
    assert validate(found, for_run=False) == []


def test_an_mcp_tool_names_server_and_tool_and_gets_its_arguments():
    found = data(
        node("x", known.MCP_TOOL, server_url="", tool_input_schema={"required": ["q"], "properties": {"q": {}}})
    )
    assert [(each.code, each.pin) for each in validate(found, for_run=True)] == [
        ("no_mcp_tool", "server_url"),
        ("no_mcp_tool", "selected_tool"),
        ("missing_input", "q"),
    ]
    found.nodes[0].input_default.update(server_url="https://x.example", selected_tool="t", tool_arguments={"q": 1})
    assert validate(found, for_run=True) == []
    linked = {"server_url": "https://x.example", "selected_tool": "t", "tool_input_schema": {"properties": {"q": {}}}}
    assert validate(data(entry(), node("x", known.MCP_TOOL, **linked), "in.result -> x.q"), for_run=True) == []


def of_agents(change=None, **facts):
    child = echo()
    top = data(entry(), runs("x", child), "in.result -> x.Topic")
    (change or (lambda graph: None))(top)
    known_agents = AgentFacts(**{"version": 1, "input_schema": top.nodes[1].input_default["input_schema"], **facts})
    return [each for each in every_problem(top, agents={child["id"]: known_agents}) if each.code != "no_output"]


def test_a_node_runs_an_agent_of_the_library_as_it_is():
    assert of_agents() == []
    assert of_agents(version=2, versions=frozenset({1, 2}))[0].stops == Stops.NOTHING
    gone = only(of_agents(version=2, versions=frozenset({2})))
    assert (gone.code, gone.node_id, gone.pin, gone.stops) == ("agent_version", "x", "graph_version", Stops.RUN)


def test_an_agent_that_is_not_in_the_library_is_named():
    top = data(entry(), runs("x", echo()), result(), "in.result -> x.Topic")
    assert validate(top, for_run=True) == []
    problem = only(validate(top, for_run=True, agents={}))
    assert (problem.code, problem.node_id) == ("unknown_agent", "x")
    top.nodes[1].input_default["graph_id"] = None
    assert "unknown_agent" in codes(validate(top, for_run=True, agents={}))


def test_an_input_of_a_sub_agent_that_never_changes_is_told():
    def fixed(top):
        top.links.clear()
        top.nodes[1].input_default["inputs"] = {"Topic": "always bees"}

    assert [(each.code, each.pin) for each in of_agents(fixed)] == [("fixed_input", "Topic")]
    assert "missing_input" in codes(of_agents(lambda top: top.links.clear()))


def test_an_orchestrator_has_tools_a_limit_and_a_whole_memory():
    found = data(
        node("o", known.ORCHESTRATOR, prompt="go", agent_mode_max_iterations=-2),
        "o.conversations -> o.conversation_history",
    )
    problems = {each.code: each for each in every_problem(found)}
    assert {"no_tools", "bad_limit", "half_a_memory"} <= problems.keys()
    assert problems["bad_limit"].stops == Stops.RUN


def test_problems_of_a_sub_agent_say_whose_they_are():
    child = graph(entry(), node("w", b.WORDS), name="Counter")
    top = shape.read(graph(entry(), runs("x", child), "in.result -> x.Topic", sub_graphs=[child]))
    problem = only(validate(top, for_run=True))
    assert (problem.graph, problem.node_id) == ("Counter", "w")


# Loops ----------------------------------------------------------------------------------------------------------


def words(*node_ids):
    return [node(node_id, b.TEMPLATE, format="x") for node_id in node_ids]


def test_a_loop_that_nothing_enters_is_named_by_its_nodes():
    found = data(entry(), *words("a", "b", "c", "d"), "a.output -> b.values_#_x", "b.output -> c.values_#_x",
                 "c.output -> a.values_#_x", "c.output -> d.values_#_x")  # fmt: skip
    problem = only(validate(found, for_run=False))
    assert problem.code == "dead_cycle"
    assert all(f"({node_id})" in problem.message for node_id in "abc")
    assert "(d)" not in problem.message


def test_a_loop_that_is_fed_from_outside_is_fine():
    found = data(entry(), *words("a", "b"), "a.output -> b.values_#_x", "b.output -> a.values_#_x",
                 "in.result -> a.values_#_y")  # fmt: skip
    assert validate(found, for_run=True) == []


def test_a_loop_whose_first_node_waits_for_its_last_is_dead_though_something_enters():
    compare = node("c", known.CONDITION, operator="==")
    wires = ("in.result -> c.value1", "c.yes_output -> w.values_#_x", "w.output -> c.value2")
    problem = only(validate(data(entry(), compare, *words("w"), *wires), for_run=False))
    assert problem.code == "dead_cycle"
    begun = node("c", known.CONDITION, operator="==", value2=5)
    assert validate(data(entry(), begun, *words("w"), *wires), for_run=True) == []


def test_accumulators_may_link_to_themselves():
    found = data(
        entry(),
        node("l", known.ADD_TO_LIST),
        node("o", known.ORCHESTRATOR, prompt="go"),
        "in.result -> l.entry",
        "l.updated_list -> l.list",
        "in.result -> o.prompt",
        "o.conversations -> o.conversation_history",
    )
    assert validate(found, for_run=True) == []


def test_a_node_that_only_feeds_itself_is_dead():
    found = data(node("l", known.ADD_TO_LIST, entry=1), "l.updated_list -> l.list")
    assert only(validate(found, for_run=False)).node_id == "l"


def test_two_dead_loops_are_both_told_and_what_hangs_on_them_is_not():
    found = data(
        *words("a", "b", "c", "d", "e", "f"),
        *("a.output -> b.values_#_x", "b.output -> a.values_#_x", "c.output -> d.values_#_x"),
        *("d.output -> c.values_#_x", "a.output -> e.values_#_x", "e.output -> f.values_#_x"),
        "f.output -> e.values_#_x",
    )
    found = [each for each in validate(found, for_run=False) if each.code == "dead_cycle"]
    named = sorted("".join(letter for letter in "abcdef" if f"({letter})" in each.message) for each in found)
    assert named == ["ab", "cd"]


def test_a_long_loop_names_some_nodes_and_counts_the_rest():
    ids = [f"n{number}" for number in range(900)]
    wires = [f"{one}.output -> {other}.values_#_x" for one, other in zip(ids, [*ids[1:], ids[0]], strict=True)]
    problem = only(validate(data(*words(*ids), *wires), for_run=False))
    assert "890 more" in problem.message


def test_a_graph_of_the_largest_size_is_checked_and_mended_in_seconds():
    many = {"type": "object", "properties": {"p": {"anyOf": [{"type": "string"}] * 10_000}}}
    child = node("x", known.AGENT_EXECUTOR, graph_id="g", graph_version=1, input_schema=many, output_schema=many)
    lists = [node(f"n{number}", known.ADD_TO_LIST) for number in range(900)]
    wires = [f"x.p -> n{number}.entry" for number in range(900)]
    wires += [f"n{number}.updated_list -> n{number + 1}.entries" for number in range(899)]
    wires += ["in.result -> x.p_#_k"] * 3000
    found = data(entry(), child, *lists, *wires)
    began = time.process_time()
    every_problem(found)
    fix(found)
    assert time.process_time() - began < 10
