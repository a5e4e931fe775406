"""Blocks that ask a model, over real HTTP against the scripted model server."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from pydantic import ValidationError

from apps.engines.providers import EXTENDED_THINKING, FAST, provider_of
from apps.library.blocks import ask_model
from apps.library.blocks.ask_model import choose
from apps.library.blocks.base import CostType, Secret
from apps.library.blocks.model_messages import clean_messages, for_anthropic, open_calls, sound
from apps.library.blocks.model_texts import AICondition, AIListGenerator, AITextSummarizer, chunks
from apps.library.blocks.models import AIConversation, AIStructuredResponseGenerator, AITextGenerator, json_of
from apps.library.errors import BlockError
from tests.library.service_blocks.conftest import context_for, run_block

KEYS = ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")


@pytest.fixture(autouse=True)
def demo(settings, model, monkeypatch):
    """Nothing is configured, so the demo model answers; failed calls are made again at once."""
    for name in (*KEYS, "CHAT_MODEL", "CHAT_ADVANCED_MODEL", "CHAT_TITLE_MODEL"):
        setattr(settings, name, "")
    settings.DEMO_MODEL_URL = model.url
    monkeypatch.setattr(ask_model, "PAUSES", (0.01, 0.01))
    model.clear()
    return model


def says(model, name, *texts, **more):
    """Script a model that says one text after the other; an answer's place is how many there were before it."""
    return model.script(name, *[[{"text": text}] for text in texts], **more)


def test_every_model_block_costs_what_the_model_costs_and_needs_no_key():
    for kind in (
        AITextGenerator, AIStructuredResponseGenerator, AIConversation, AITextSummarizer, AIListGenerator, AICondition,
    ):  # fmt: skip
        assert [cost.type for cost in kind.costs] == [CostType.COST_USD]
        assert not kind.Input.model_fields["credentials"].is_required()
        assert "open_router" in kind.credentials_inputs()["credentials"]["credentials_provider"]


# Texts ------------------------------------------------------------------------------------------------------------


async def test_a_text_is_written_of_filled_templates(model):
    marker = says(model, "text", "Hello Ada")
    context = context_for()
    found = await run_block(
        AITextGenerator,
        {
            "prompt": "Greet {{ name }} " + marker,
            "sys_prompt": "Be {{ manner }}.",
            "prompt_values": {"name": "Ada", "manner": "kind"},
            "max_tokens": 50,
        },
        context,
    )
    assert found["response"] == ["Hello Ada"]
    [messages] = found["prompt"]
    assert messages == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": f"Greet Ada {marker}"},
    ]
    [request] = model.requests("text")
    assert request["body"]["messages"] == messages
    assert request["body"]["max_tokens"] == 50
    assert context.stats.model_calls == 1
    assert context.stats.usage.prompt_tokens > 0
    assert context.stats.usage.completion_tokens > 0
    assert context.stats.usage.cost_microdollars == 0  # the demo model's price


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ x", "Line 1 of the template"),
        ("{{ ''.__class__.__mro__ }}", "may not use"),
        ("{{ 1/0 }}", "division by zero"),
        ("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "longer than 5 seconds"),
        ("  ", "empty"),
        ("{{ missing }}", "empty"),
    ],
)
async def test_templates_that_can_not_be_filled_are_told(model, template, words):
    with pytest.raises(BlockError, match=words):
        await run_block(AITextGenerator, {"prompt": template})
    assert not model.requests()


async def test_an_empty_answer_is_asked_for_again(model):
    marker = model.script("empty", [{"text": " "}], [{"text": "now"}])
    context = context_for()
    assert (await run_block(AITextGenerator, {"prompt": marker}, context))["response"] == ["now"]
    assert (context.stats.model_calls, context.stats.retries) == (2, 1)


async def test_a_model_that_is_away_for_a_moment_is_asked_again(model):
    marker = model.script("flaky", [{"status": 503, "times": 2}, {"text": "back"}])
    context = context_for()
    assert (await run_block(AITextGenerator, {"prompt": marker}, context))["response"] == ["back"]
    assert context.stats.retries == 2


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ([{"status": 500}], "can't be reached"),
        ([{"status": 401}], "didn't accept the key"),
        ([{"text": "a"}, {"disconnect": True}], "broke off"),
    ],
)
async def test_a_model_that_fails_fails_the_block(model, step, words):
    marker = model.script("fails", step)
    with pytest.raises(BlockError, match=words):
        await run_block(AITextGenerator, {"prompt": marker})


async def test_what_a_broken_answer_used_is_counted(model):
    marker = model.script("broken", [{"text": "a"}, {"usage": {"prompt_tokens": 7}}, {"disconnect": True}])
    context = context_for()
    with pytest.raises(BlockError):
        await run_block(AITextGenerator, {"prompt": marker, "retry": 0}, context)
    assert context.stats.model_calls == 3


# Structured -------------------------------------------------------------------------------------------------------


async def ask_fields(model, *texts, **more):
    marker = says(model, "fields", *texts)
    context = context_for()
    found = await run_block(
        AIStructuredResponseGenerator,
        {"prompt": f"Who? {marker}", "expected_format": {"name": "who it is", "age": "years"}, **more},
        context,
    )
    return found["response"][0], context


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ada", "age": 36}',
        'Here you are:\n```json\n{"name": "Ada", "age": 36, "extra": 1}\n```\nDone.',
        '[{"name": "Ada", "age": 36}]',
    ],
)
async def test_fields_are_found_whatever_stands_around_them(model, text):
    assert (await ask_fields(model, text))[0] == {"name": "Ada", "age": 36}


async def test_a_wrong_answer_is_told_what_is_wrong_with_it(model):
    found, context = await ask_fields(model, "I don't know", '{"name": "Ada"}', '{"name": "Ada", "age": 36}')
    assert found == {"name": "Ada", "age": 36}
    assert context.stats.retries == 2
    last = model.requests("fields")[-1]["body"]["messages"]
    assert last[-2] == {"role": "assistant", "content": '{"name": "Ada"}'}
    assert "These fields are missing: age." in last[-1]["content"]


async def test_answers_that_never_fit_fail_the_block(model):
    marker = says(model, "never", "no", repeat_last=True)
    context = context_for()
    with pytest.raises(BlockError, match=r"no answer that can be used\. There is no JSON"):
        await run_block(
            AIStructuredResponseGenerator,
            {"prompt": marker, "expected_format": {"x": "y"}, "retry": 2},
            context,
        )
    assert context.stats.model_calls == 3


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "a", "age": 1}, {"name": "b", "age": 2}]',
        '{"all": [{"name": "a", "age": 1}, {"name": "b", "age": 2}]}',
    ],
)
async def test_a_list_of_objects(model, text):
    found, _ = await ask_fields(model, text, list_result=True)
    assert found == [{"name": "a", "age": 1}, {"name": "b", "age": 2}]


async def test_history_goes_before_the_prompt(model):
    history = [{"role": "user", "content": "before"}, {"role": "assistant", "content": "yes"}]
    await ask_fields(model, '{"name": 1, "age": 2}', conversation_history=history)
    sent = model.requests("fields")[-1]["body"]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert '"age": "years"' in sent[0]["content"]


async def test_a_prompt_that_is_too_long_is_shortened(model):
    marker = says(model, "long", '{"x": 1}', context=5_000)
    data = {"prompt": marker + " word" * 3_000, "expected_format": {"x": "y"}}
    found = await run_block(AIStructuredResponseGenerator, data)
    assert found["response"] == [{"x": 1}]
    assert "[…]" in found["prompt"][0][-1]["content"]
    with pytest.raises(BlockError, match="longer than this model can read"):
        await run_block(AIStructuredResponseGenerator, {**data, "compress_prompt_to_fit": False})


async def test_fields_must_be_named():
    with pytest.raises(BlockError, match="which fields"):
        await run_block(AIStructuredResponseGenerator, {"prompt": "x", "expected_format": {}})
    with pytest.raises(ValidationError):
        await run_block(AIStructuredResponseGenerator, {"prompt": "x"})


def test_json_is_found_in_hostile_texts_in_time():
    with pytest.raises(ValueError, match="no JSON"):
        json_of("[" * 100_000)
    assert json_of("{bad} and [1, 2]") == [1, 2]


# Conversations ----------------------------------------------------------------------------------------------------


async def test_a_conversation_goes_on(model):
    marker = says(model, "talk", "Fine.", repeat_last=True)
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": marker},
        {"role": "assistant", "content": {"said": "Hello"}},
    ]
    found = await run_block(AIConversation, {"messages": messages, "prompt": "How are you?"})
    assert found["response"] == ["Fine."]
    assert found["prompt"][0][-1] == {"role": "user", "content": "How are you?"}
    assert found["prompt"][0][2]["content"] == '{"said": "Hello"}'


@pytest.mark.parametrize("messages", [[], ["text"], [{"content": "x"}], [{"role": "king", "content": "x"}], [None]])
async def test_what_is_no_conversation_is_refused(messages):
    with pytest.raises(BlockError):
        await run_block(AIConversation, {"messages": messages})


def test_a_conversation_is_made_sound():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    given = clean_messages(
        [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": None, "tool_calls": [call, {"bad": 1}]},
            {"role": "assistant", "content": ""},
            {"role": "tool", "tool_call_id": "nobody", "content": "x"},
        ]
    )
    assert open_calls(given) == ["c1"]
    assert [message["role"] for message in sound(given)] == ["user", "assistant", "tool"]
    blocks = for_anthropic(sound(given))
    assert [message["role"] for message in blocks] == ["user", "assistant", "user"]
    assert blocks[1]["content"] == [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]
    assert blocks[2]["content"][0]["tool_use_id"] == "c1"
    assert for_anthropic([{"role": "assistant", "content": "x"}])[0]["role"] == "user"


# Sums, lists, conditions ------------------------------------------------------------------------------------------


async def test_a_short_text_is_summed_up_at_once(model):
    marker = says(model, "sum", "In short.")
    found = await run_block(AITextSummarizer, {"text": f"{marker} " + "word " * 50, "style": "bullet points"})
    assert found["summary"] == ["In short."]
    [request] = model.requests("sum")
    assert "bullet points" in request["body"]["messages"][0]["content"]


async def test_a_long_text_is_summed_up_in_parts(model):
    marker = says(model, "parts", "Part.", repeat_last=True)
    text = " ".join(f"{marker} word{number}" for number in range(200))
    context = context_for()
    found = await run_block(AITextSummarizer, {"text": text, "max_tokens": 200, "chunk_overlap": 10}, context)
    assert found["summary"][0]
    assert context.stats.model_calls > 3
    sent = " ".join(request["body"]["messages"][-1]["content"] for request in model.requests("parts"))
    assert all(f"word{number}" in sent for number in range(200))


def test_chunks_miss_nothing_and_overlap():
    text = "".join(f"w{number} " for number in range(5_000))
    parts = chunks(text, 200, 20)
    assert all(len(part) <= 800 for part in parts)
    assert all(before[-80:] == after[:80] for before, after in pairwise(parts))
    assert chunks("x" * 5_000, 200, 10**9)[0] == "x" * 800


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_nothing_is_not_summed_up(text):
    with pytest.raises(BlockError):
        await run_block(AITextSummarizer, {"text": text})


@pytest.mark.parametrize("text", ['["a", "b"]', 'Sure: ["a", "b"]!', '{"list": ["a", "b"]}'])
async def test_a_list_is_made(model, text):
    marker = says(model, "list", text)
    found = await run_block(AIListGenerator, {"focus": marker, "source_data": "a and b"})
    assert found["generated_list"] == [["a", "b"]]
    assert found["list_item"] == ["a", "b"]
    assert "a and b" in found["prompt"][0][-1]["content"]


async def test_a_list_is_asked_for_again(model):
    marker = says(model, "again", "a, b", '{"x": 1, "y": 2}', '[1, {"c": 2}]')
    found = await run_block(AIListGenerator, {"focus": marker})
    assert found["generated_list"] == [["1", '{"c": 2}']]


async def test_a_list_of_nothing_is_refused():
    with pytest.raises(BlockError, match="what the list is about"):
        await run_block(AIListGenerator, {})
    with pytest.raises(ValidationError):
        await run_block(AIListGenerator, {"focus": "x", "max_retries": 9})


@pytest.mark.parametrize(
    ("text", "given", "pins"),
    [
        ("true", {}, {"result": [True], "yes_output": [{"a": 1}]}),
        ("**Yes.**", {"yes_value": "y"}, {"result": [True], "yes_output": ["y"]}),
        ("False", {"no_value": "n"}, {"result": [False], "no_output": ["n"]}),
        ("no", {}, {"result": [False], "no_output": [{"a": 1}]}),
    ],
)
async def test_a_condition_is_judged(model, text, given, pins):
    marker = says(model, "judge", text)
    data = {"input_value": {"a": 1}, "condition": f"has an a {marker}", **given}
    assert await run_block(AICondition, data) == pins


async def test_an_unclear_verdict_is_asked_for_again_and_fails_in_the_end(model):
    marker = says(model, "unclear", "it depends", "true")
    assert (await run_block(AICondition, {"input_value": 1, "condition": marker}))["result"] == [True]
    marker = says(model, "vague", "it depends, true or false", repeat_last=True)
    with pytest.raises(BlockError, match="true or false"):
        await run_block(AICondition, {"input_value": 1, "condition": marker})
    with pytest.raises(BlockError, match="empty"):
        await run_block(AICondition, {"input_value": 1, "condition": " "})


# Whom to ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "named", "wanted"),
    [
        ({"OPENROUTER_API_KEY": "k"}, "claude-sonnet-4-6", "anthropic/claude-sonnet-4-6"),
        ({"OPENROUTER_API_KEY": "k"}, "gpt-4o-mini", "openai/gpt-4o-mini"),
        ({"OPENROUTER_API_KEY": "k"}, "openai/gpt-4o", "openai/gpt-4o"),
        ({"OPENROUTER_API_KEY": "k"}, "gpt-3.5-turbo", "anthropic/claude-sonnet-4-6"),
        ({"OPENROUTER_API_KEY": "k"}, "nobody/knows-this", "anthropic/claude-sonnet-4-6"),
        ({"OPENROUTER_API_KEY": "k", "CHAT_MODEL": "x/y"}, "", "x/y"),
        ({"OPENAI_API_KEY": "k"}, "claude-sonnet-4-6", "gpt-4o"),
        ({"OPENAI_API_KEY": "k"}, "gpt-4o-mini", "gpt-4o-mini"),
        ({"ANTHROPIC_API_KEY": "k"}, "gpt-4o", "anthropic/claude-sonnet-4-6"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "CHAT_MODEL": "mine"}, "gpt-4o", "mine"),
        ({}, "gpt-4o", "flightdeck-demo"),
    ],
)
def test_models_of_files_become_models_that_are_there(settings, keys, named, wanted):
    for name, value in keys.items():
        setattr(settings, name, value)
    choice = choose(named, None)
    assert (choice.model, choice.is_own_key) == (wanted, False)


@pytest.mark.parametrize(
    ("provider", "named", "wanted", "engine"),
    [
        ("openai", "gpt-9", "gpt-9", FAST),
        ("openai", "claude-sonnet-4-6", "gpt-4o", FAST),
        ("anthropic", "claude-next", "claude-next", EXTENDED_THINKING),
        ("open_router", "claude-next", "anthropic/claude-next", FAST),
        ("groq", "meta/llama-9", "llama-9", FAST),
    ],
)
def test_an_own_key_may_ask_for_what_it_likes(provider, named, wanted, engine):
    choice = choose(named, Secret(provider, "api_key", {"api_key": "mine"}))
    assert (choice.model, choice.provider.engine, choice.is_own_key) == (wanted, engine, True)
    assert choice.provider.api_key == "mine"
    assert "mine" not in repr(choice)


async def test_an_own_key_is_sent_to_its_provider_and_costs_nothing_here(model, monkeypatch):
    monkeypatch.setattr(ask_model, "KEY_URLS", {"openai": (model.base_url, FAST)})
    marker = model.script("own", [{"text": "hi"}, {"usage": {"cost": 0.5}}])
    context = context_for(secrets={"credentials": Secret("openai", "api_key", {"api_key": "mine"})})
    await run_block(AITextGenerator, {"prompt": marker, "model": "gpt-9"}, context)
    assert model.requests("own")[0]["body"]["model"] == "gpt-9"
    assert context.stats.usage.completion_tokens > 0
    assert context.stats.usage.cost_microdollars == 0


async def test_a_model_that_its_provider_does_not_know_becomes_the_default(model, monkeypatch):
    monkeypatch.setattr(ask_model, "KEY_URLS", {"openai": (model.base_url, FAST)})
    marker = model.script("gone", [{"status": 404, "times": 1}, {"text": "hi"}])
    context = context_for(secrets={"credentials": Secret("openai", "api_key", {"api_key": "mine"})})
    found = await run_block(AITextGenerator, {"prompt": marker, "model": "gpt-old"}, context)
    assert found["response"] == ["hi"]
    assert [request["body"]["model"] for request in model.requests("gone")] == ["gpt-old", "gpt-4o"]


async def test_the_other_engine_answers_too(settings, model):
    settings.ANTHROPIC_BASE_URL = model.anthropic_url
    assert provider_of(FAST, settings).name == "anthropic"
    marker = says(model, "other", "From the other.")
    history = [{"role": "system", "content": "Be short."}, {"role": "user", "content": marker}]
    found = await run_block(AIConversation, {"messages": history, "max_tokens": 77})
    assert found["response"] == ["From the other."]
    [request] = model.requests("other")
    assert request["wire"] == "anthropic"
    assert request["body"]["max_tokens"] == 77


async def test_the_installations_price_counts(settings, model):
    from apps.engines.catalog import ModelFacts

    settings.CHAT_MODEL_FACTS = {"flightdeck-demo": ModelFacts(input_price=2.0, output_price=3.0)}
    marker = model.script("priced", [{"text": "x"}, {"usage": {"prompt_tokens": 100, "completion_tokens": 10}}])
    context = context_for()
    await run_block(AITextGenerator, {"prompt": marker}, context)
    assert context.stats.usage.cost_microdollars == 230


def test_prompts_are_json_ready():
    json.dumps(clean_messages([{"role": "user", "content": {"a": [1, 2]}}]))
