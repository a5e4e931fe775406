"""Blocks that only look at what they are given: what they put out for good inputs, and their errors for bad ones."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from apps.library.errors import BlockError
from tests.library.blocks.running import block, run

GOOD = [
    # values
    ("StoreValue", {"input": 1}, [("output", 1)]),
    ("StoreValue", {"input": 1, "data": "x"}, [("output", "x")]),
    ("StoreValue", {"input": 1, "data": ""}, [("output", 1)]),
    ("PrintToConsole", {"text": {"a": 1}}, [("output", {"a": 1}), ("status", "printed")]),
    ("Note", {"text": "hello"}, [("output", "hello")]),
    ("ReverseListOrder", {"input_list": [1, 2, 3]}, [("reversed_list", [3, 2, 1])]),
    ("ReverseListOrder", {"input_list": "[1, 2]"}, [("reversed_list", [2, 1])]),
    # dictionaries
    ("CreateDictionary", {"values": {"a b": 1}}, [("dictionary", {"a b": 1})]),
    ("CreateDictionary", {"values": '{"a": 1}'}, [("dictionary", {"a": 1})]),
    ("AddToDictionary", {"key": "a", "value": 1}, [("updated_dictionary", {"a": 1})]),
    ("AddToDictionary", {"dictionary": None, "key": "a", "value": None}, [("updated_dictionary", {"a": None})]),
    (
        "AddToDictionary",
        {"dictionary": {"a": 1, "b": 1}, "key": "a", "value": 2, "entries": {"c": 3, "b": 2}},
        [("updated_dictionary", {"a": 2, "b": 2, "c": 3})],
    ),
    ("FindInDictionary", {"input": {"a": None}, "key": "a"}, [("output", None)]),
    ("FindInDictionary", {"input": {"1": "one"}, "key": 1}, [("output", "one")]),
    ("FindInDictionary", {"input": {"a": 1}, "key": "b"}, [("missing", {"a": 1})]),
    ("FindInDictionary", {"input": '{"a": 1}', "key": "a"}, [("output", 1)]),
    ("FindInDictionary", {"input": "no JSON", "key": "a"}, [("missing", "no JSON")]),
    ("FindInDictionary", {"input": ["x", "y"], "key": 1}, [("output", "y")]),
    ("FindInDictionary", {"input": ["x", "y"], "key": "-1"}, [("output", "y")]),
    ("FindInDictionary", {"input": ["x"], "key": 5}, [("missing", ["x"])]),
    ("FindInDictionary", {"input": ["x"], "key": "a"}, [("missing", ["x"])]),
    ("FindInDictionary", {"input": [{"a": 1}, {"b": 2}, {"a": 3}], "key": "a"}, [("output", [1, 3])]),
    ("FindInDictionary", {"input": 5, "key": "a"}, [("missing", 5)]),
    ("RemoveFromDictionary", {"dictionary": {"a": 1, "b": 2}, "key": "a"}, [("updated_dictionary", {"b": 2})]),
    (
        "RemoveFromDictionary",
        {"dictionary": {"1": 1}, "key": 1, "return_value": "true"},
        [("updated_dictionary", {}), ("removed_value", 1)],
    ),
    (
        "ReplaceDictionaryValue",
        {"dictionary": {"a": 1}, "key": "a", "value": None},
        [("updated_dictionary", {"a": None}), ("old_value", 1)],
    ),
    ("DictionaryIsEmpty", {"dictionary": {}}, [("is_empty", True)]),
    ("DictionaryIsEmpty", {"dictionary": {"a": 1}}, [("is_empty", False)]),
    # lists
    ("CreateList", {"values": [1, 2, 3, 4, 5], "max_size": "2"}, [("list", [1, 2]), ("list", [3, 4]), ("list", [5])]),
    ("CreateList", {"values": []}, [("list", [])]),
    (
        "CreateList",
        {"values": ["x" * 40, "y" * 30, "z", "w" * 400], "max_tokens": 12},
        [("list", ["x" * 40]), ("list", ["y" * 30, "z"]), ("list", ["w" * 400])],
    ),
    ("AddToList", {"entry": "a"}, [("updated_list", ["a"])]),
    ("AddToList", {"list": [1], "entry": 4, "entries": [2, 3]}, [("updated_list", [1, 2, 3, 4])]),
    ("AddToList", {"list": [1, 2], "entry": 0, "position": 0}, [("updated_list", [0, 1, 2])]),
    ("AddToList", {"list": [1, 2], "entry": False, "position": "-1"}, [("updated_list", [1, False, 2])]),
    ("AddToList", {"list": None, "entry": None, "entries": None}, [("updated_list", [])]),
    ("FindInList", {"list": ["a", {"b": 1}], "value": {"b": 1}}, [("index", 1), ("found", True)]),
    ("FindInList", {"list": [True, 1], "value": 1}, [("index", 1), ("found", True)]),
    ("FindInList", {"list": [], "value": 1}, [("found", False), ("not_found_value", 1)]),
    ("GetListItem", {"list": ["a", "b"], "index": "-1"}, [("item", "b")]),
    ("RemoveFromList", {"list": [1, 2, 1], "value": 1}, [("updated_list", [2, 1])]),
    (
        "RemoveFromList",
        {"list": [1, 2], "index": -1, "return_item": True},
        [("updated_list", [1]), ("removed_item", 2)],
    ),
    ("ReplaceListItem", {"list": [1, 2], "index": -1, "value": 3}, [("updated_list", [1, 3]), ("old_item", 2)]),
    ("ListIsEmpty", {"list": []}, [("is_empty", True)]),
    ("ListIsEmpty", {"list": [None]}, [("is_empty", False)]),
    (
        "ConcatenateLists",
        {"lists": [[1, None], [1.0, True]], "deduplicate": True, "remove_none": True},
        [("concatenated_list", [1, True]), ("length", 2)],
    ),
    ("ConcatenateLists", {"lists": [[2], [1, 2]]}, [("concatenated_list", [2, 1, 2]), ("length", 3)]),
    (
        "FlattenList",
        {"nested_list": [1, [2, [3, []]], [4]]},
        [("flattened_list", [1, 2, 3, 4]), ("length", 4), ("original_depth", 4)],
    ),
    (
        "FlattenList",
        {"nested_list": [1, [2, [3, [4]]]], "max_depth": 1},
        [("flattened_list", [1, 2, [3, [4]]]), ("length", 3), ("original_depth", 4)],
    ),
    (
        "FlattenList",
        {"nested_list": [[1]], "max_depth": 0},
        [("flattened_list", [[1]]), ("length", 1), ("original_depth", 2)],
    ),
    ("InterleaveLists", {"lists": [[1, 3, 4], [2], []]}, [("interleaved_list", [1, 2, 3, 4]), ("length", 4)]),
    ("InterleaveLists", {"lists": []}, [("interleaved_list", []), ("length", 0)]),
    ("ZipLists", {"lists": [[1, 2], ["a"]]}, [("zipped_list", [[1, "a"]]), ("length", 1)]),
    (
        "ZipLists",
        {"lists": [[1, 2], ["a"]], "pad_to_longest": True, "fill_value": "-"},
        [("zipped_list", [[1, "a"], [2, "-"]]), ("length", 2)],
    ),
    ("ListDifference", {"list_a": [1, 2, 2, 3], "list_b": [3, 4]}, [("difference", [1, 2, 2]), ("length", 3)]),
    (
        "ListDifference",
        {"list_a": [1], "list_b": [True, 1], "symmetric": True},
        [("difference", [True]), ("length", 1)],
    ),
    (
        "ListIntersection",
        {"list_a": [3, {"a": 1, "b": 2}, 3], "list_b": [{"b": 2, "a": 1}, 3.0]},
        [("intersection", [3, {"a": 1, "b": 2}]), ("length", 2)],
    ),
    # texts
    ("CombineTexts", {"input": ["a", 1, None, {"b": "ü"}], "delimiter": "-"}, [("output", 'a-1-None-{"b": "ü"}')]),
    ("CombineTexts", {"input": "alone"}, [("output", "alone")]),
    ("TextSplit", {"text": "a, b ,c", "delimiter": ","}, [("texts", ["a", "b", "c"])]),
    ("TextSplit", {"text": "a, b", "delimiter": ",", "strip": "false"}, [("texts", ["a", " b"])]),
    ("TextSplit", {"text": "", "delimiter": ","}, [("texts", [])]),
    ("TextReplace", {"text": "a.a", "old": ".", "new": "\\1"}, [("output", "a\\1a")]),
    ("TextReplace", {"text": 101, "old": 0, "new": 2}, [("output", "121")]),
    ("TextDecoder", {"text": r"a\nb\\n\u00fc\x41\101ü\q"}, [("decoded_text", "a\nb\\nüAAü\\q")]),
    ("TextDecoder", {"text": r"\ud83d\ude00"}, [("decoded_text", "😀")]),
    ("TextEncoder", {"text": "a\n\\ü😀"}, [("encoded_text", r"a\n\\\xfc\U0001f600")]),
    ("WordCharacterCount", {"text": " two  words "}, [("word_count", 2), ("character_count", 12)]),
    ("JSONEncoder", {"data": {"ü": [None, True, 1.5]}}, [("json_str", '{"ü": [null, true, 1.5]}')]),
    ("JSONDecoder", {"json_str": ' {"a": [1, "2"]} '}, [("data", {"a": [1, "2"]})]),
    ("JSONDecoder", {"json_str": "null"}, [("data", None)]),
    (
        "CodeExtraction",
        {"text": "Look:\n```python\nx = 1\n```\nand\n```js\ny\n```\n``` PY\nx = 2\n\n```\nand ```not\nthis"},
        [
            ("javascript", "y"),
            ("python", "x = 1\n\nx = 2\n"),
            ("remaining_text", "Look:\nand\nand ```not\nthis"),
        ],
    ),
    ("CodeExtraction", {"text": "~~~~c++\na\n~~~\n~~~~"}, [("cpp", "a\n~~~")]),
    ("CodeExtraction", {"text": "```json\n{cut off"}, [("json_code", "{cut off")]),
    (
        "CodeExtraction",
        {"text": "```rust\n```python\nx\n```"},
        [("remaining_text", "```rust\n```python\nx\n```")],
    ),
    # decisions
    ("Condition", {"value1": "10", "operator": ">", "value2": 9}, [("result", True), ("yes_output", "10")]),
    ("Condition", {"value1": "10", "operator": "<", "value2": "9"}, [("result", False), ("no_output", "9")]),
    ("Condition", {"value1": "b", "operator": ">", "value2": "a"}, [("result", True), ("yes_output", "b")]),
    ("Condition", {"value1": 5, "operator": "==", "value2": "5.0"}, [("result", True), ("yes_output", 5)]),
    ("Condition", {"value1": True, "operator": "==", "value2": " TRUE"}, [("result", True), ("yes_output", True)]),
    ("Condition", {"value1": None, "operator": "==", "value2": None}, [("result", True), ("yes_output", None)]),
    ("Condition", {"value1": [1], "operator": "!=", "value2": "1"}, [("result", True), ("yes_output", [1])]),
    ("Condition", {"value1": "Nan", "operator": "==", "value2": "Nan"}, [("result", True), ("yes_output", "Nan")]),
    ("Condition", {"value1": "20_24", "operator": "==", "value2": "2024"}, [("result", False), ("no_output", "2024")]),
    ("Condition", {"value1": "Infinity", "operator": ">", "value2": 9}, [("result", True), ("yes_output", "Infinity")]),
    (
        "Condition",
        {"value1": 10**400, "operator": ">=", "value2": "1" + "0" * 400},
        [("result", True), ("yes_output", 10**400)],
    ),
    (
        "Condition",
        {"value1": 1, "operator": ">=", "value2": 1, "yes_value": 0, "no_value": "n"},
        [("result", True), ("yes_output", 0)],
    ),
    (
        "Condition",
        {"value1": 1, "operator": "!=", "value2": 1, "yes_value": "y", "no_value": ""},
        [("result", False), ("no_output", "")],
    ),
    ("IfInputMatches", {"input": "a", "value": "a"}, [("result", True), ("yes_output", "a")]),
    ("IfInputMatches", {"input": "a", "value": "b"}, [("result", False), ("no_output", "a")]),
    ("IfInputMatches", {"input": 1, "value": "1", "yes_value": "y"}, [("result", True), ("yes_output", "y")]),
    (
        "StepThroughItems",
        {"items": ["a"], "items_object": {"k": 1}, "items_str": "[null]"},
        [("item", "a"), ("key", 0), ("item", 1), ("key", "k"), ("item", None), ("key", 0)],
    ),
    ("StepThroughItems", {"items": None, "items_str": None}, []),
    ("StepThroughItems", {"items_str": '{"a": 1}'}, [("item", 1), ("key", "a")]),
    # maths
    ("Calculator", {"operation": "Add", "a": "1.5", "b": 2}, [("result", 3.5)]),
    ("Calculator", {"operation": "Subtract", "a": 1, "b": 2}, [("result", -1.0)]),
    ("Calculator", {"operation": "Multiply", "a": 2.6, "b": 1, "round_result": True}, [("result", 3)]),
    ("Calculator", {"operation": "Divide", "a": 1, "b": 4}, [("result", 0.25)]),
    ("Calculator", {"operation": "Divide", "a": 1, "b": 0, "round_result": True}, [("result", "Infinity")]),
    ("Calculator", {"operation": "Power", "a": 2, "b": 10}, [("result", 1024.0)]),
    ("Calculator", {"operation": "Power", "a": 9, "b": 9**9}, [("result", "NaN")]),
    ("Calculator", {"operation": "Power", "a": -8, "b": 0.5}, [("result", "NaN")]),
    ("Calculator", {"operation": "Multiply", "a": -1e308, "b": 10}, [("result", "-Infinity")]),
    ("Calculator", {"operation": "Add", "a": "Infinity", "b": 1}, [("result", "Infinity")]),
    ("CountItems", {"collection": [1, 2]}, [("count", 2)]),
    ("CountItems", {"collection": {"a": 1}}, [("count", 1)]),
    ("CountItems", {"collection": "four"}, [("count", 4)]),
    ("CountItems", {"collection": 4}, [("count", -1)]),
    # a trigger
    (
        "GenericWebhookTrigger",
        {"payload": {"a": 1}, "constants": None, "secret_token": "s"},
        [("payload", {"a": 1}), ("constants", {})],
    ),
]

BAD = [
    ("RemoveFromDictionary", {"dictionary": {}, "key": "a"}, "no key “a”"),
    ("ReplaceDictionaryValue", {"dictionary": {}, "key": "a", "value": 1}, "no key “a”"),
    ("GetListItem", {"list": [1], "index": 1}, "no place 1"),
    ("GetListItem", {"list": [], "index": -1}, "no place -1"),
    ("RemoveFromList", {"list": [1], "value": 2}, "isn't in the list"),
    ("RemoveFromList", {"list": [1]}, "Name the value"),
    ("RemoveFromList", {"list": [1], "index": 3}, "no place 3"),
    ("ReplaceListItem", {"list": [1], "index": -2, "value": 0}, "no place -2"),
    ("CombineTexts", {"input": ["x"] * 2000, "delimiter": "y" * 10_000}, "too large"),
    ("TextSplit", {"text": "a", "delimiter": ""}, "Name the text"),
    ("TextReplace", {"text": "a", "old": "", "new": "b"}, "Name the text"),
    ("TextReplace", {"text": "a" * 10_000, "old": "a", "new": "b" * 10_000}, "too large"),
    ("TextDecoder", {"text": r"\UFFFFFFFF"}, "no character"),
    ("JSONDecoder", {"json_str": "{'a': 1}"}, "isn't JSON"),
    ("JSONDecoder", {"json_str": "[NaN]"}, "NaN isn't a number"),
    ("JSONDecoder", {"json_str": "[" * 100_000}, "nested too deeply"),
    ("JSONDecoder", {"json_str": "1" * 10_000}, "isn't JSON"),
    ("Condition", {"value1": "a", "operator": "<", "value2": 1}, "A text and a number have no order"),
    ("Condition", {"value1": [1], "operator": "<", "value2": {}}, "A list and a dictionary have no order"),
    ("StepThroughItems", {"items_str": "no JSON"}, "isn't JSON"),
    ("StepThroughItems", {"items_str": "5"}, "neither a list"),
    ("UniversalTypeConverter", {"value": "five", "type": "number"}, "number"),
    ("UniversalTypeConverter", {"value": "NaN", "type": "number"}, "number"),
    ("UniversalTypeConverter", {"value": [1], "type": "number"}, "number"),
    ("UniversalTypeConverter", {"value": "perhaps", "type": "boolean"}, "neither yes nor no"),
    ("UniversalTypeConverter", {"value": "x", "type": "dictionary"}, "dictionary"),
    ("UniversalTypeConverter", {"value": 5, "type": "dictionary"}, "dictionary"),
]

INVALID = [
    ("StoreValue", {}, "input"),
    ("PrintToConsole", {}, "text"),
    ("Note", {"text": None}, "text"),
    ("ReverseListOrder", {"input_list": None}, "input_list"),
    ("CreateDictionary", {"values": "no object"}, "values"),
    ("AddToDictionary", {"dictionary": 5}, "dictionary"),
    ("FindInDictionary", {"input": {}}, "key"),
    ("FindInDictionary", {"input": {}, "key": [1]}, "key"),
    ("DictionaryIsEmpty", {"dictionary": None}, "dictionary"),
    ("CreateList", {"values": [], "max_size": 0}, "max_size"),
    ("AddToList", {"position": "first"}, "position"),
    ("FindInList", {"value": 1}, "list"),
    ("ListIsEmpty", {}, "list"),
    ("ConcatenateLists", {"lists": [1]}, "lists"),
    ("FlattenList", {"nested_list": [], "max_depth": -2}, "max_depth"),
    ("InterleaveLists", {"lists": [[1], 2]}, "lists"),
    ("ZipLists", {"lists": 5}, "lists"),
    ("ListDifference", {"list_a": []}, "list_b"),
    ("ListIntersection", {"list_b": []}, "list_a"),
    ("TextEncoder", {"text": None}, "text"),
    ("WordCharacterCount", {}, "text"),
    ("CodeExtraction", {}, "text"),
    ("JSONEncoder", {}, "data"),
    ("Condition", {"value1": 1, "operator": "=", "value2": 1}, "operator"),
    ("IfInputMatches", {"input": 1}, "value"),
    ("Calculator", {"operation": "Modulo", "a": 1, "b": 1}, "operation"),
    ("Calculator", {"operation": "Add", "a": "one", "b": 1}, "a"),
    ("CountItems", {}, "collection"),
    ("UniversalTypeConverter", {"value": 1, "type": "tuple"}, "type"),
    ("GenericWebhookTrigger", {"payload": "no object"}, "payload"),
]

CONVERTED = [
    (5, "string", "5"),
    (None, "string", ""),
    (True, "string", "True"),
    ({"a": "ü"}, "string", '{"a": "ü"}'),
    (" 5 ", "number", 5),
    ("-5.5", "number", -5.5),
    ("1e3", "number", 1000.0),
    ("9" * 30, "number", 10**30 - 1),
    (True, "number", 1),
    (5.0, "number", 5.0),
    ("Yes", "boolean", True),
    ("0", "boolean", False),
    ("", "boolean", False),
    (None, "boolean", False),
    ([0], "boolean", True),
    ("[1, 2]", "list", [1, 2]),
    ('```json\n["a"]\n```', "list", ["a"]),
    ("a, b", "list", ["a, b"]),
    (5, "list", [5]),
    (None, "list", []),
    ('{"a": 1}', "dictionary", {"a": 1}),
    (["x", "y"], "dictionary", {"0": "x", "1": "y"}),
    (None, "dictionary", {}),
]


@pytest.mark.parametrize(("name", "pins", "outputs"), GOOD, ids=str)
async def test_good_inputs(name, pins, outputs):
    found = await run(name, pins)
    assert found == outputs
    assert [type(value) for _, value in found] == [type(value) for _, value in outputs]


@pytest.mark.parametrize(("name", "pins", "words"), BAD, ids=str)
async def test_bad_inputs_are_errors_in_words(name, pins, words):
    with pytest.raises(BlockError, match=words):
        await run(name, pins)


@pytest.mark.parametrize(("name", "pins", "pin"), INVALID, ids=str)
def test_inputs_that_dont_fit_are_refused_at_their_pin(name, pins, pin):
    with pytest.raises(ValidationError) as caught:
        block(name).Input.model_validate(pins)
    assert pin in {error["loc"][0] for error in caught.value.errors()}


@pytest.mark.parametrize(("value", "kind", "result"), CONVERTED, ids=str)
async def test_the_converter(value, kind, result):
    found = await run("UniversalTypeConverter", {"value": value, "type": kind})
    assert found == [("value", result)]
    assert type(found[0][1]) is type(result)


def test_every_plain_block_is_in_a_table_of_good_and_one_of_bad_inputs():
    modules = {"basic", "dictionaries", "lists", "several_lists", "codecs", "code_extraction", "logic", "maths"}
    from apps.library.blocks.registry import all_blocks

    plain = {
        type(found).__name__ for found in all_blocks().values() if type(found).__module__.rpartition(".")[2] in modules
    } - {"FileStore"}
    assert plain <= {name for name, *_ in GOOD} | {"UniversalTypeConverter"}
    assert plain <= {name for name, *_ in BAD} | {name for name, *_ in INVALID}


async def test_a_hostile_text_of_fences_takes_no_time():
    hostile = ("```" + " " * 50_000 + "`\n") * 20 + "~~~\n" * 10_000
    assert await run("CodeExtraction", {"text": hostile})


async def test_very_deep_lists_are_flattened():
    deep: list = []
    for _ in range(900):
        deep = [deep, 1]
    flat = dict(await run("FlattenList", {"nested_list": deep}))
    assert (flat["length"], flat["original_depth"]) == (900, 901)


async def test_inputs_are_left_as_they_were():
    """Static values are used by several nodes: nobody may change them."""
    pins = {"list": [1, 2], "entries": [3], "entry": 4}
    await run("AddToList", pins)
    assert pins == {"list": [1, 2], "entries": [3], "entry": 4}
    first = await run("AddToList", {"entry": 1})
    assert first == await run("AddToList", {"entry": 1}), "a default was changed"
    dictionary = {"a": 1}
    await run("AddToDictionary", {"dictionary": dictionary, "key": "b", "value": 2})
    await run("RemoveFromDictionary", {"dictionary": dictionary, "key": "a"})
    assert dictionary == {"a": 1}
