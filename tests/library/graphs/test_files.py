"""Agent files: what comes out is what went in, and what can't come in is named."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.library.errors import GraphInvalid
from apps.library.graphs import importer, known, schemas
from apps.library.graphs.exporter import export_graph
from apps.library.graphs.services import import_agent, save_graph
from apps.library.graphs.shape import MOST_BYTES, MOST_DEPTH
from apps.library.models import Graph, LibraryAgent, Link, Node
from tests.depth import depth
from tests.library.graphs import blocks as b
from tests.library.graphs.graphs import echo, entry, graph, link, node, result, runs
from tests.library.graphs.test_secrecy import KEY

STRANGE = "99999999-0000-4000-8000-000000000000"
OLD_FIND = "b2g2c3d4-5e6f-7g8h-9i0j-k1l2m3n4o5p6"


def take(person, file):
    return import_agent(user_id=person.user.pk, file=file)


def again(person, agent):
    return take(person, json.dumps(export_graph(agent.graph)).encode())


def plain(file):
    """Return a file with every id replaced by its place, so that two of them can be compared."""
    names = {file["id"]: "top"} | {sub["id"]: f"sub {place}" for place, sub in enumerate(file["sub_graphs"])}
    for place, each in enumerate([file, *file["sub_graphs"]]):
        names |= {each["id"]: f"{place}" for each in each["links"]}
        names |= {each["id"]: f"node {place}.{spot}" for spot, each in enumerate(each["nodes"])}
    text = json.dumps(file)
    for old in sorted(names, key=len, reverse=True):
        text = text.replace(old, names[old])
    return json.loads(text)


def refused(person, file):
    """Return what is said of a file that can't be imported; nothing of it is kept."""
    with pytest.raises(GraphInvalid) as caught:
        take(person, file)
    assert not Graph.objects.exists()
    assert not LibraryAgent.objects.exists()
    assert not Node.objects.exists()
    assert not Link.objects.exists()
    problems = caught.value.fields["problems"]
    assert all(problem["message"] and problem["remedy"] for problem in problems)
    return problems


def bare(value, **changes):
    return json.dumps({**value, **changes}).encode()


# What comes in -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_file_becomes_an_agent_with_ids_of_its_own(owner):
    file = echo(description="Says it again", instructions="Just run it", recommended_schedule_cron="0 9 * * 1")
    imported = take(owner, bare(file))

    row = imported.agent.graph
    assert (row.name, row.description, row.instructions, row.recommended_schedule_cron, row.version, row.is_active) == (
        "An agent", "Says it again", "Just run it", "0 9 * * 1", 1, True,
    )  # fmt: skip
    assert str(row.graph_id) != file["id"]
    assert [each.block_id for each in row.nodes.all()] == [known.AGENT_INPUT, b.OUTPUT]
    wire = row.links.get()
    assert (wire.source.input_default["name"], wire.source_name) == ("Topic", "result")
    assert (wire.sink.input_default["name"], wire.sink_name) == ("Result", "value")
    assert wire.is_static  # what the block says, not the file
    assert imported.told == []
    assert imported.agent.user_id == owner.user.pk


@pytest.mark.django_db
def test_the_same_file_twice_makes_two_agents(owner):
    file = bare(echo())
    assert take(owner, file).agent.graph.graph_id != take(owner, file).agent.graph.graph_id


@pytest.mark.django_db
def test_old_ids_old_pins_and_loose_values_come_up_to_date(owner):
    file = graph(
        entry(),
        node("f", OLD_FIND, key="k"),
        node("n", b.NUMBER, name="N", value="42"),
        node("g", b.TOGGLE, name="T", value="true", advanced="no"),
        node("d", known.DROPDOWN_INPUT, name="D", placeholder_values=["a"]),
        node("x", known.CODE_EXTRACTION, text=5),
        node("t", known.CURRENT_DATE, trigger="go", offset="3", format="%Y"),
        node("s", known.SHEETS_READ, spreadsheet_id="sheet", range="A1"),
        node("m", known.SEND_EMAIL, to_email="a@b.example", subject="s", body="b",
             creds={"smtp_server": "mail", "smtp_port": 25, "smtp_username": "me", "smtp_password": "hunter2"}),
        result(),
        "in.result -> f.input",
        "x.json_#_a -> out.value",
        "in.result -> s.spreadsheet_id_#_id",
    )  # fmt: skip
    imported = take(owner, file)
    nodes = {each.block_id: each.input_default for each in imported.agent.graph.nodes.all()}
    assert nodes["0e50422c-6dee-4145-83d6-3a5a392f65de"] == {"key": "k"}
    assert nodes[b.NUMBER]["value"] == 42
    assert (nodes[b.TOGGLE]["value"], nodes[b.TOGGLE]["advanced"]) == (True, False)
    assert nodes[known.DROPDOWN_INPUT] == {"name": "D", "options": ["a"]}
    assert nodes[known.CODE_EXTRACTION] == {"text": "5"}
    assert nodes[known.CURRENT_DATE] == {"trigger": "go", "offset": "3"}
    assert nodes[known.SHEETS_READ] == {"spreadsheet": {"id": "sheet"}, "range": "A1"}
    assert nodes[known.SEND_EMAIL]["config"] == {"smtp_server": "mail", "smtp_port": 25}
    wires = {(each.source_name, each.sink_name) for each in imported.agent.graph.links.all()}
    assert wires == {("result", "input"), ("json_code_#_a", "value"), ("result", "spreadsheet_#_id")}
    assert "creds.smtp_password" in str([each.message for each in imported.told])


@pytest.mark.django_db
def test_keys_that_nobody_knows_are_passed_over(owner):
    file = echo(user_id="u", created_at="x", forked_from_id=str(uuid4()), input_schema={"a": 1}, odd=[1])
    file["nodes"][0] |= {"webhook_id": "w", "graph_id": "g", "graph_version": 9, "input_links": [], "odd": None}
    file["nodes"][0]["input_default"] |= {"stale": 1, "title": None}
    assert take(owner, bare(file)).agent.graph.nodes.count() == 2


@pytest.mark.django_db
def test_unknown_blocks_come_in_as_placeholders_that_name_themselves(owner):
    file = graph(
        entry(), node("x", STRANGE, any={"thing": 1}), result(), "in.result -> x.pin_#_a b", "x.b -> out.value"
    )
    imported = take(owner, bare(file))
    (told,) = imported.told
    assert (told.code, told.node_id) == ("unknown_block", "x")
    assert STRANGE in told.message
    assert imported.agent.graph.nodes.get(block_id=STRANGE).input_default == {"any": {"thing": 1}}


@pytest.mark.django_db
def test_embedded_secrets_are_named_and_never_stored(owner):
    file = graph(
        entry("in", "Token", value="hunter2"),
        node("x", b.TEMPLATE, format=f"{KEY}", values={"api_key": "hunter2"}),
        node("u", STRANGE, credentials={"api_key": "hunter2"}, header=f"Bearer {KEY}"),
        description=KEY,
    )
    imported = take(owner, bare(file))
    secrets = [each for each in imported.told if each.code == "secret_removed"]
    assert {(each.node_id, each.pin) for each in secrets} == {
        ("", ""), ("in", "value"), ("x", "format"), ("x", "values"), ("u", "credentials"), ("u", "header"),
    }  # fmt: skip
    row = imported.agent.graph
    stored = json.dumps([row.description, *row.nodes.values_list("input_default", flat=True)])
    assert KEY not in stored
    assert "hunter2" not in stored


@pytest.mark.django_db
def test_tools_of_an_orchestrator_follow_their_nodes(owner):
    file = graph(
        node("o", known.ORCHESTRATOR, prompt="go"),
        node("the-tool", b.WORDS),
        "o.tools_^_the-tool_~_text -> the-tool.text",
        "o.tools_^_word_count_~_text -> the-tool.text",
    )
    row = take(owner, file).agent.graph
    tool = row.nodes.get(block_id=b.WORDS)
    assert [each.source_name for each in row.links.all()] == [
        f"tools_^_{tool.pk}_~_text",
        "tools_^_word_count_~_text",
    ]


# Sub-agents ------------------------------------------------------------------------------------------------------


def family():
    """Return an agent that runs one that runs another one, and itself."""
    grandchild = graph(entry("a", "Deep"), result("b", "Deepest"), "a.result -> b.value", name="Grandchild")
    child = graph(entry("c", "User's Email"), runs("d", grandchild), result("e", "Results!"), "c.result -> d.Deep",
                  "d.Deepest -> e.value", name="Child")  # fmt: skip
    top = graph(entry(), runs("x", child, metadata={"customized_name": "Child"}), result(),
                "in.result -> x.User's Email", "x.Results! -> out.value", sub_graphs=[child, grandchild])  # fmt: skip
    return top, child, grandchild


def executors(graph_row):
    return [each.input_default for each in graph_row.nodes.filter(block_id=known.AGENT_EXECUTOR)]


@pytest.mark.django_db
def test_sub_agents_come_too_and_are_referred_to_by_their_new_ids(owner):
    top, child, _ = family()
    imported = take(owner, bare(top))
    assert [each.graph.name for each in imported.sub_agents] == ["Child", "Grandchild"]
    first, second = imported.sub_agents
    assert executors(imported.agent.graph)[0]["graph_id"] == str(first.graph_id_shared) != child["id"]
    assert executors(first.graph)[0]["graph_id"] == str(second.graph_id_shared)
    assert "user_id" not in executors(imported.agent.graph)[0]
    assert LibraryAgent.objects.filter(user=owner.user).count() == 3
    assert imported.told == []


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["id", "version and pins", "name"])
def test_files_refer_to_sub_agents_in_three_ways(owner, how):
    top, child, _ = family()
    runner = top["nodes"][1]
    if how != "id":
        runner["input_default"]["graph_id"] = str(uuid4())
    if how == "name":
        child["nodes"].append(entry("more", "Another input", value="x"))  # its pins aren't what the node says
    row = take(owner, bare(top)).agent.graph
    target = LibraryAgent.objects.get(graph__name="Child")
    assert executors(row)[0]["graph_id"] == str(target.graph_id_shared)
    assert executors(row)[0]["graph_version"] == 1


@pytest.mark.django_db
def test_an_agent_that_the_file_lacks_is_told(owner):
    top, _, _ = family()
    top["sub_graphs"] = []
    (told,) = take(owner, bare(top)).told
    assert (told.code, told.node_id) == ("agent_outside_file", "x")


@pytest.mark.django_db
def test_an_agent_may_run_itself(owner):
    file = echo()
    file["nodes"].append(runs("self", file))
    file["links"].append(link("in.result -> self.Topic"))
    row = take(owner, bare(file)).agent.graph
    assert executors(row)[0]["graph_id"] == str(row.graph_id)
    exported = export_graph(row)
    assert exported["sub_graphs"] == []
    assert exported["nodes"][2]["input_default"]["graph_id"] == exported["id"]


@pytest.mark.django_db
def test_nested_sub_agents_are_laid_flat(owner):
    top, child, grandchild = family()
    top["sub_graphs"] = [{**child, "sub_graphs": [grandchild]}]
    assert len(take(owner, bare(top)).sub_agents) == 2


@pytest.mark.django_db
def test_others_agents_are_never_exported(owner, teammate):
    theirs = take(teammate, bare(echo())).agent
    file = echo()
    file["nodes"].append(runs("x", {**echo(), "id": str(theirs.graph_id_shared)}))
    file["links"].append(link("in.result -> x.Topic"))
    assert export_graph(take(owner, file).agent.graph)["sub_graphs"] == []


# What goes out ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_export_holds_what_is_computed_and_nothing_secret(owner):
    chosen = {"id": str(uuid4()), "provider": "acme", "type": "api_key", "title": "Mine"}
    row = save_graph(
        user_id=owner.user.pk,
        data=graph(
            entry("in", "Pass", secret=True, value="hunter2"),
            node("k", b.KEYED, topic="t", credentials=chosen),
            node("h", b.HUMAN, name="Look", data=1),
            result(),
            "in.result -> k.topic",
            "k.found -> out.value",
        ),
    )
    assert row.nodes.get(block_id=b.KEYED).input_default["credentials"] == chosen  # the owner's own choice stays
    file = export_graph(row)
    text = json.dumps(file)
    assert "hunter2" not in text
    assert chosen["id"] not in text
    assert str(owner.user.pk) not in text
    assert file["input_schema"]["properties"]["Pass"]["secret"] is True
    assert "default" not in file["input_schema"]["properties"]["Pass"]
    assert file["credentials_input_schema"]["required"] == ["acme_api_key_credentials"]
    assert file["has_human_in_the_loop"] is True
    assert file["output_schema"]["properties"].keys() == {"Result"}


# What can't come in ----------------------------------------------------------------------------------------------

BAD_FORMS = {
    "no JSON": (b"{", "not_json"),
    "no UTF-8": (b'{"name": "\xff"}', "not_json"),
    "no number": (b'{"name": NaN}', "not_json"),
    "no file": (b"", "not_json"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
    "too deep": (b'{"name":"x","nodes":' + b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1) + b"}", "too_deep"),
    "large": (b" " * MOST_BYTES + b"{}", "too_large"),
    "a list": (b"[]", "malformed"),
    "a word": (b'"x"', "malformed"),
    "endless": (bare(echo(), odd=5).replace(b"5", b"1e999"), "unusable_value"),
    "NUL": (bare(echo(), odd="\x00"), "unusable_value"),
    "surrogate": (bare(echo(), odd="\ud800"), "unusable_value"),
    "no name": (bare(echo(), name=" "), "malformed"),
    "name is no text": (bare(echo(), name=5), "malformed"),
    "long name": (bare(echo(), name="x" * 201), "malformed"),
    "odd version": (bare(echo(), version="first"), "malformed"),
    "nodes no list": (bare(echo(), nodes={}), "malformed"),
    "a node no object": (bare(echo(), nodes=[5]), "malformed"),
    "a node without block": (bare(echo(), nodes=[{"id": "x"}], links=[]), "malformed"),
    "a node without id": (bare(echo(), nodes=[{"block_id": STRANGE}], links=[]), "malformed"),
    "defaults no object": (bare(graph(node("x", STRANGE) | {"input_default": []})), "malformed"),
    "long block id": (bare(graph(node("x", "b" * 65))), "malformed"),
    "long pin": (bare(graph(entry(), node("x", STRANGE), f"in.result -> x.{'p' * 301}")), "malformed"),
    "half a link": (bare(echo(), links=[{"id": "L", "source_id": "in"}]), "malformed"),
    "a link no object": (bare(echo(), links=[None]), "malformed"),
    "many nodes": (bare(graph(*(node(f"n{n}", "b") for n in range(1001)))), "malformed"),
    "sub-agent no object": (bare(echo(), sub_graphs=[5]), "malformed"),
    "two nodes of one id": (bare(graph(entry(), entry("in", "B"))), "duplicate_id"),
    "two sub-agents of one id": (bare(echo(), sub_graphs=[family()[2]] * 2), "duplicate_id"),
    "a wrong pin": (bare(graph(entry(), result(), "in.result -> out.valve")), "unknown_input"),
    "a wrong source": (bare(graph(entry(), result(), "in.reslut -> out.value")), "unknown_output"),
    "no such node": (bare(graph(entry(), "in.result -> gone.value")), "unknown_node"),
    "a dead loop": (bare(graph(node("x", b.TEMPLATE, format="x"), "x.output -> x.values")), "dead_cycle"),
    "wrong in a sub-agent": (
        bare(echo(), sub_graphs=[graph(entry(), result(), "in.a -> out.value")]),
        "unknown_output",
    ),
}


@pytest.mark.django_db
@pytest.mark.parametrize("what", BAD_FORMS)
def test_what_can_not_come_in_is_named_and_nothing_is_kept(owner, what):
    file, code = BAD_FORMS[what]
    problems = refused(owner, file)
    assert code in {problem["code"] for problem in problems}, problems


@pytest.mark.django_db
def test_everything_wrong_is_told_at_once(owner):
    file = graph(entry(), entry("in", "B"), result(), "in.nope -> out.value", "in.result -> out.nope")
    assert {each["code"] for each in refused(owner, bare(file))} == {
        "duplicate_id",
        "unknown_output",
        "unknown_input",
    }


@pytest.mark.django_db
def test_very_many_problems_are_cut(owner):
    file = graph(*(node(f"n{n}", known.AGENT_INPUT) for n in range(1000)))
    assert len(refused(owner, bare(file))) == 100


@pytest.mark.django_db
def test_a_file_of_just_the_largest_size_comes_in(owner):
    file = bare(echo(description=""))
    padded = bare(echo(description="x" * (MOST_BYTES - len(file) - 50)))
    assert len(padded) > MOST_BYTES - 100
    assert take(owner, padded).agent.graph.description.startswith("xxx")


def test_json_that_came_another_way_is_measured_too():
    with pytest.raises(GraphInvalid):
        importer.check_size({"name": "x" * MOST_BYTES})


# Whatever goes out comes in alike -----------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=("Cs",)), max_size=12)
KEYS = st.text("abc XY!'.é_-", min_size=1, max_size=8).filter(str.strip)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
PLACES = st.fixed_dictionaries({"x": st.floats(-1e6, 1e6), "y": st.integers(-9, 9)})
METADATA = st.fixed_dictionaries({"position": PLACES}, optional={"customized_name": TEXT, "odd": VALUES})
EXTRA = st.dictionaries(st.sampled_from(["prompt_x", "max_tokens", "api_key", "stale"]), VALUES, max_size=2)
#: Blocks that values go through, each with a pin that takes anything and one that gives it.
STEPS = [
    (known.STORE_VALUE, "input", "output", {}),
    (b.TEMPLATE, "values_#_{key}", "output", {"format": "x"}),
    (known.CREATE_LIST, "values_$_{place}", "list_$_0", {}),
    (b.COUNT, "collection", "count", {}),
    (b.FIND, "input", "output", {"key": "k"}),
    (STRANGE, "anything_@_{key}", "some thing_#_{key}", {}),
    (known.ORCHESTRATOR, "prompt", "tools_^_x_~_{key}", {}),
]


@st.composite
def graphs(draw, name="An agent", children=()):
    names = draw(st.lists(KEYS, min_size=1, max_size=3, unique=True))
    nodes = [entry(f"in {place}", each, value=draw(VALUES)) for place, each in enumerate(names)]
    sources = [(each["id"], "result") for each in nodes]
    wires = []

    def wire(sink_id, pin):
        source_id, source_pin = draw(st.sampled_from(sources))
        ends = {"source_id": source_id, "source_name": source_pin, "sink_id": sink_id, "sink_name": pin}
        wires.append({"id": str(uuid4()), **ends, "is_static": draw(st.booleans())})

    for place in range(draw(st.integers(0, 4))):
        block_id, pin, out, given_values = draw(st.sampled_from(STEPS))
        node_id = draw(st.sampled_from([str(uuid4()), f"step {place}"]))
        words = {"key": draw(KEYS), "place": draw(st.integers(0, 3))}
        extra = draw(
            st.dictionaries(st.sampled_from(["prompt_x", "max_tokens", "api_key", "stale"]), VALUES, max_size=2)
        )
        nodes.append(node(node_id, block_id, metadata=draw(METADATA), **extra, **given_values))
        wire(node_id, pin.format(**words))
        sources.append((node_id, out.format(**words)))
    for place, child in enumerate(children):
        if draw(st.booleans()) or not place:
            nodes.append(runs(f"run {place}", child))
            for each in child["nodes"]:
                if each["block_id"] == known.AGENT_INPUT:
                    wire(f"run {place}", each["input_default"]["name"])
            sources.append((f"run {place}", "Result"))
    nodes.append(result(format=draw(TEXT)))
    wire("out", "value")
    more = {"description": draw(TEXT), "instructions": draw(TEXT)}
    return {
        "id": str(uuid4()),
        "version": draw(st.integers(1, 9)),
        "name": name,
        "nodes": nodes,
        "links": wires,
        **more,
    }


@st.composite
def families(draw):
    grandchild = draw(graphs(name="Grandchild"))
    child = draw(graphs(name="Child", children=[grandchild]))
    wanted = draw(st.sampled_from([[], [grandchild], [child, grandchild]]))
    top = draw(graphs(children=wanted))
    needed = [child, grandchild] if child in wanted else wanted
    return {**top, "sub_graphs": needed}


@pytest.mark.long
@pytest.mark.django_db
@settings(suppress_health_check=list(HealthCheck), max_examples=depth(quick=10, full=30, deep=3000))
@given(file=families())
def test_an_exported_file_re_imports_to_an_equal_graph(owner, file):
    first = take(owner, bare(file)).agent
    one = export_graph(first.graph)
    second = again(owner, first).agent
    two = export_graph(second.graph)
    assert plain(two) == plain(one)
    assert UUID(one["id"]) != UUID(two["id"])
    # And what came in is what was in the file, but for what is never kept.
    assert [each["block_id"] for each in one["nodes"]] == [each["block_id"] for each in file["nodes"]]
    assert [(each["source_name"], each["sink_name"]) for each in one["links"]] == [
        (each["source_name"], each["sink_name"]) for each in file["links"]
    ]
    assert [each["name"] for each in one["sub_graphs"]] == [each["name"] for each in file["sub_graphs"]]
    for before, after in zip(file["nodes"], one["nodes"], strict=True):
        kept = before["input_default"].keys() - {"api_key", "graph_id", "graph_version", "user_id"}
        assert kept <= after["input_default"].keys()
    names = schemas.input_schema(importer.shape.read(file))["properties"].keys()
    assert one["input_schema"]["properties"].keys() == names
