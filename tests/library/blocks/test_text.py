"""Patterns and templates: what they find and fill, that they reach nothing of Python, and that none is endless."""

from __future__ import annotations

import asyncio

import pytest

from apps.library.blocks import child_calls
from apps.library.blocks.text import ExtractTextInformation, FillTextTemplate, MatchTextPattern
from apps.library.errors import BlockError
from tests.library.blocks.running import last, run

CATASTROPHIC = {"(a+)+$": "a" * 60 + "b", r"(\w*\w*)*\d$": "x" * 60 + "-", "(.*a){25}$": "a" * 60 + "b"}


@pytest.fixture
def impatient(monkeypatch):
    """Patterns and templates are given up sooner, so that the tests needn't wait."""
    original = child_calls.run_in_child

    async def hurried(function, *arguments, timeout_seconds):
        assert timeout_seconds == child_calls.QUICK_SECONDS
        return await original(function, *arguments, timeout_seconds=0.5)

    monkeypatch.setattr(child_calls, "run_in_child", hurried)


@pytest.mark.parametrize(
    ("pins", "outputs"),
    [
        ({"text": "Hello", "match": "h.l"}, [("negative", "Hello")]),
        ({"text": "Hello", "match": "h.l", "case_sensitive": "false"}, [("positive", "Hello")]),
        ({"text": "Hello", "match": "H", "data": {"a": 1}}, [("positive", {"a": 1})]),
        ({"text": "a\nb", "match": "a.b"}, [("positive", "a\nb")]),
        ({"text": "a\nb", "match": "a.b", "dot_all": False}, [("negative", "a\nb")]),
        ({"text": {"a": "ü"}, "match": '"ü"'}, [("positive", {"a": "ü"})]),
    ],
)
async def test_matching(pins, outputs):
    assert await run("MatchTextPattern", pins) == outputs


@pytest.mark.parametrize(
    ("pins", "outputs"),
    [
        (
            {"text": "a1 b2", "pattern": r"[a-z](\d)", "group": 1},
            [("positive", "1"), ("matched_results", ["1"]), ("matched_count", 1)],
        ),
        (
            {"text": "a1 b2", "pattern": r"[a-z]\d", "find_all": True},
            [("positive", "a1"), ("positive", "b2"), ("matched_results", ["a1", "b2"]), ("matched_count", 2)],
        ),
        (
            {"text": "a", "pattern": "a(b)?", "group": "1"},
            [("positive", ""), ("matched_results", [""]), ("matched_count", 1)],
        ),
        ({"text": "none", "pattern": "x"}, [("negative", "none"), ("matched_results", []), ("matched_count", 0)]),
    ],
)
async def test_extraction(pins, outputs):
    assert await run("ExtractTextInformation", pins) == outputs


@pytest.mark.parametrize(
    ("kind", "pins", "words"),
    [
        ("MatchTextPattern", {"text": "a", "match": "(a"}, "malformed"),
        ("ExtractTextInformation", {"text": "a", "pattern": "["}, "malformed"),
        ("ExtractTextInformation", {"text": "a", "pattern": "a", "group": 1}, "no group 1"),
        ("ExtractTextInformation", {"text": "a" * 1001, "pattern": "a", "find_all": True}, "more than 1000 times"),
        ("ExtractTextInformation", {"text": "a", "pattern": "a{99999999999}"}, "malformed"),
    ],
)
async def test_bad_patterns_are_errors(kind, pins, words):
    with pytest.raises(BlockError, match=words):
        await run(kind, pins)


@pytest.mark.parametrize("pattern", CATASTROPHIC)
async def test_catastrophic_patterns_are_given_up(pattern, impatient):
    with pytest.raises(BlockError, match="longer than"):
        await run(MatchTextPattern(), {"text": CATASTROPHIC[pattern], "match": pattern})
    with pytest.raises(BlockError, match="longer than"):
        await run(ExtractTextInformation(), {"text": CATASTROPHIC[pattern], "pattern": pattern, "find_all": True})


@pytest.mark.parametrize(
    ("template", "values", "output"),
    [
        (
            "Dear {{name}},{% for x in items %} {{x|upper}}{% endfor %}",
            {"name": "A", "items": ["b", "c"]},
            "Dear A, B C",
        ),
        ("{{ missing }}|{{ a['b c'] }}|{{ a.d | default('-') }}", {"a": {"b c": 1}}, "|1|-"),
        ("{{ a | tojson }}", {"a": {"b": [1, None]}}, '{"b": [1, null]}'),
        ("{{ x }}", {"x": "<b>"}, "<b>"),
        ("no variables", {}, "no variables"),
        ("{% set n = namespace(i=0) %}{% for x in range(3) %}{% set n.i = n.i + x %}{% endfor %}{{ n.i }}", {}, "3"),
    ],
)
async def test_templates(template, values, output):
    assert await run("FillTextTemplate", {"format": template, "values": values}) == [("output", output)]


async def test_values_are_escaped_on_demand():
    pins = {"format": "<p>{{ x }}</p>", "values": {"x": "<b>"}, "escape_html": True}
    assert await last("FillTextTemplate", pins) == {"output": "<p>&lt;b&gt;</p>"}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ unclosed", "Line 1 of the template"),
        ("\n{% for %}", "Line 2 of the template"),
        ("{{ 1 / 0 }}", "can't be filled"),
        ("{{ 'a' + 1 }}", "can't be filled"),
        ("{{ missing.deeper.still }}", "can't be filled"),
        ("{{ x | nosuchfilter }}", "nosuchfilter"),
        ("{% include '/etc/passwd' %}", "can't be filled"),
        ("{% import 'os' as os %}", "can't be filled"),
    ],
)
async def test_bad_templates_are_errors(template, words):
    with pytest.raises(BlockError, match=words):
        await run("FillTextTemplate", {"format": template, "values": {}})


#: Ways out of other sandboxes. Whether one gives nothing or an error, it must not give anything of Python's insides.
ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ x.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ range.__self__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].environ }}",
    "{{ dict.mro() }}",
    "{{ dict.__subclasses__() }}",
    "{{ '{0.__class__.__mro__}'.format(x) }}",
    "{{ '{x.__class__}'.format_map({'x': x}) }}",
    "{{ ('{0.__class__}' | safe).format(x) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(x) }}",
    "{{ ['{0.__class__}'] | map('format', x) | list }}",
    "{{ [x] | map(attribute='__class__') | list }}",
    "{{ [x] | map('attr', '__class__') | list }}",
    "{{ [x] | groupby('__class__') }}",
    "{{ [x] | selectattr('__class__') | map(attribute='__class__') | list }}",
    "{{ config }}{{ request }}{{ settings }}{{ get_flashed_messages }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{{ x.pop.__self__.__class__ }}",
    "{{ x.items.__func__ }}",
    "{{ (x|attr('items'))|attr('__self__')|attr('__class__') }}",
    "{% macro m() %}{% endmacro %}{{ m.__init__ }}{{ m._func.__code__ }}",
    "{{ caller.__globals__ }}",
    "{{ x.clear() }}",
    "{{ l.append(1) }}{{ l }}",
    "{{ ''.join.__call__.__globals__ }}",
    "{{ '%c' % 95 }}{{ x[('%c' % 95) * 2 + 'class' + ('%c' % 95) * 2] }}",
    '{{ x["\\x5f\\x5fclass\\x5f\\x5f"] }}',
    "{{ x | string | attr('encode') }}",
]


@pytest.mark.parametrize("template", ESCAPES)
async def test_templates_reach_nothing_of_python(template):
    try:
        outputs = await last("FillTextTemplate", {"format": template, "values": {"x": {"key": "v"}, "l": [0]}})
    except BlockError as error:
        said = str(error)
    else:
        said = outputs["output"]
    for word in ("<class", "subclasses", "<module", "environ(", "uid=", "<code", "_TemplateReference", "[0, 1]"):
        assert word not in said.replace(template, "")


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
        "{{ 9 ** (9 ** 9) }}",
        "{% for a in range(99999) %}{{ ('x' * 99999) | wordwrap(1) }}{% endfor %}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{% set x = 'a' * 999999999 %}{{ (x ~ x) | length }}{{ m() }}",
    ],
)
async def test_templates_that_take_for_ever_or_everything_are_given_up(template, impatient):
    with pytest.raises(BlockError, match=r"longer than|more memory|too large|nested too deeply"):
        await run(FillTextTemplate(), {"format": template, "values": {}})


async def test_a_huge_text_of_a_template_is_refused():
    with pytest.raises(BlockError, match=r"too large|more memory"):
        await run("FillTextTemplate", {"format": "{{ 'x' * 20000000 }}", "values": {}})
    with pytest.raises(BlockError, match="can't be filled"):
        await run("FillTextTemplate", {"format": "{% for a in range(999999) %}{% endfor %}", "values": {}})


async def test_the_worker_goes_on_while_a_template_loops(impatient):
    pins = {"format": "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}", "values": {}}
    running = asyncio.create_task(run("FillTextTemplate", pins))
    turns = 0
    while not running.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 5
    with pytest.raises(BlockError):
        await running
