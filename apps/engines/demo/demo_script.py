"""What the offline demo model says: a scripted tour of the product. It is not an AI, and says so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from apps.engines.demo.conversation import Conversation, ToolAnswer
from apps.engines.demo.script import Action, Pace, Reasoning, Sleep, Status, Text, ToolCall

MODEL = "flightdeck-demo"

WORDS = Pace(words=True)
SLOW_SECONDS = 5.0
_MAX_QUOTED_CHARACTERS = 200
_MAX_EXCERPT_CHARACTERS = 500
_MAX_TITLE_WORDS = 6
_MAX_SUMMED_UP_CHARACTERS = 80
# "error" within a long message is somebody's real question, not a call for the demo.
_MAX_KEYWORD_MESSAGE_WORDS = 5
_LONG_SECTIONS = 10  # about 20 seconds at the usual 40 words a second

_URL = re.compile(r"https?://[^\s<>\"')\]]+")
_PLAN = re.compile(r"\b(plan|todo|to-do|todos)\b", re.IGNORECASE)
_TITLE_REQUEST = re.compile(r"write a\b[^.\n]*\btitle\b", re.IGNORECASE)
_SUMMARY_REQUEST = re.compile(r"summari[sz]e the conversation\b", re.IGNORECASE)

_NOTICE = (
    "> **This is the offline demo model, a script and not an AI.** It shows how the product looks and behaves.\n\n"
)

_HELP = """## Things to try

| Say | What you will see |
| --- | --- |
| `plan my week` | A tool call that writes a todo list |
| a web address | A tool call that fetches the page |
| `long` | A long answer: stop it, reload the page, or send another message meanwhile |
| `slow` | Five seconds of silence before the answer |
| `error` | A failing model, and how to retry |
| anything else | This overview |

### Getting a real model

1. Get a key from a provider.
2. Put it into the environment or into `.env`:

```bash
OPENROUTER_API_KEY=...   # or OPENAI_API_KEY, or ANTHROPIC_API_KEY
```

3. Start the product again. The same chat then answers with the real thing.
"""

_PLAN_TODOS = (
    ("Say what the goal is", "Saying what the goal is", "in_progress"),
    ("Split it into small steps", "Splitting it into small steps", "pending"),
    ("Do the first step", "Doing the first step", "pending"),
    ("Look at what came of it", "Looking at what came of it", "pending"),
)

_LONG_PARAGRAPH = (
    "This section exists so that there is something to stream. While it comes in you can scroll up and read, press "
    "stop, reload the page or open the same chat in a second tab: the answer goes on where it is, and nothing of it is "
    "lost or shown twice. You can even close the window and come back later: what was written is stored step by step "
    "and waits here, and a stopped answer keeps what it had said so far."
)


def reply(conversation: Conversation) -> list[Action]:
    """Return what the demo model does next; the same conversation always gets the same reply."""
    if conversation.answers:
        return _after_tools(conversation.answers)
    question = conversation.question
    match _keyword(question.rsplit("\n\n", 1)[-1]):  # what was asked last, when earlier questions had no answer
        case "error":
            return [Status(500, {"error": {"message": "The demo model was asked to fail.", "type": "server_error"}})]
        case "slow":
            return [Sleep(SLOW_SECONDS), Text(_NOTICE + "That was five seconds of silence, as you wished.", WORDS)]
        case "long":
            return [_thought("A long answer is wanted, so I recite section after section."), Text(_long(), WORDS)]
    return _call_tool(conversation) or _overview(question)


def title(question: str) -> str:
    """Return a title for a conversation that begins with this question: its first words."""
    words = question.split()
    if not words:
        return "A new conversation"
    return " ".join(words[:_MAX_TITLE_WORDS]).rstrip(".,;:!?")


def chore(conversation: Conversation) -> list[Action] | None:
    """Return the answer to one of the product's own requests besides a conversation; None when it is none of them."""
    if not conversation.tools and _TITLE_REQUEST.match(conversation.system):
        return [Text(title(conversation.question))]
    if not conversation.tools and _SUMMARY_REQUEST.match(conversation.system):
        return [Text(summary(conversation.question))]
    return None


def summary(transcript: str) -> str:
    """Return a summary of a conversation: how long it was, how it began and what was said last."""
    said = [" ".join(text.split()) for text in transcript.split("\n\n")]
    began, ended = _shorten(said[0], _MAX_SUMMED_UP_CHARACTERS), _shorten(said[-1], _MAX_SUMMED_UP_CHARACTERS)
    return f"{len(said)} things were said. It began with: {began} The last was: {ended}"


def _keyword(question: str) -> str:
    words = re.findall(r"[a-z]+", question.lower())
    if len(words) > _MAX_KEYWORD_MESSAGE_WORDS:
        return ""
    return next((word for word in words if word in ("error", "slow", "long")), "")


def _thought(text: str) -> Reasoning:
    return Reasoning(text, pace=WORDS)


def _overview(question: str) -> list[Action]:
    quoted = _shorten(" ".join(question.split()), _MAX_QUOTED_CHARACTERS)
    greeting = f"Thank you for your message: “{quoted}”" if quoted else "Hello!"
    thought = (
        "I am a script, so I don't understand the question. I look for the words that I know: plan, long, slow, error, "
        "or a web address. None of them asks for a tool, so I show what there is to try."
    )
    intro = f"# Hello from the demo\n\n{greeting}\n\nA real model would answer it. I can show you around instead.\n\n"
    return [_thought(thought), Text(_NOTICE + intro + _HELP, WORDS)]


def _call_tool(conversation: Conversation) -> list[Action]:
    """Return a tool call that the question asks for and that is offered, or nothing."""
    url = _URL.search(conversation.question)
    if url and "web_fetch" in conversation.tools:
        address = url.group().rstrip(".,;:!?")
        thought = "There is a web address in the message, and I may fetch pages."
        return [_thought(thought), Text("I fetch that page.", WORDS), _tool("web_fetch", {"url": address})]
    if _PLAN.search(conversation.question) and "todo_write" in conversation.tools:
        todos = [{"content": content, "activeForm": form, "status": status} for content, form, status in _PLAN_TODOS]
        thought = "A plan is wanted. I write it down as a todo list with one task in progress."
        return [_thought(thought), Text("I write a plan.", WORDS), _tool("todo_write", {"todos": todos})]
    return []


def _tool(name: str, arguments: Mapping[str, Any]) -> ToolCall:
    # In parts, so that people can watch the arguments grow as they do with a real model.
    text = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(name=name, arguments=text, parts=8, delay=0.05, labels={})


def _after_tools(answers: list[ToolAnswer]) -> list[Action]:
    summaries = "\n\n".join(_summary(answer) for answer in answers)
    return [_thought("The tool answered. I tell what came of it."), Text(f"{_NOTICE}## Done\n\n{summaries}", WORDS)]


def _summary(answer: ToolAnswer) -> str:
    try:
        result = json.loads(answer.content)
    except ValueError:
        result = None
    if not isinstance(result, Mapping):
        return f"`{answer.name}` answered:\n\n{_fenced(answer.content)}"
    if result.get("error") or result.get("type") == "error":
        return f"`{answer.name}` didn't work: {result.get('message') or result['error']}"
    if isinstance(result.get("todos"), list):
        return "\n".join(["This is the plan:", "", *(_todo_line(todo) for todo in result["todos"])])
    if isinstance(result.get("content"), str):
        heading = result.get("title") or result.get("url") or answer.name
        return f"**{heading}** begins like this:\n\n{_fenced(result['content'])}"
    return f"`{answer.name}`: {result.get('message') or 'it worked.'}"


def _todo_line(todo: object) -> str:
    if not isinstance(todo, Mapping):
        return f"- {todo}"
    return f"- [{'x' if todo.get('status') == 'completed' else ' '}] {todo.get('content', '')}"


def _fenced(text: str) -> str:
    # Four backticks, as the excerpt may hold fences of its own.
    return f"````text\n{_shorten(text.strip(), _MAX_EXCERPT_CHARACTERS)}\n````"


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _long() -> str:
    sections = (f"## Section {number} of {_LONG_SECTIONS}\n\n{_LONG_PARAGRAPH}\n\n" for number in _numbers())
    return _NOTICE + "# A long answer\n\n" + "".join(sections) + "That was all of it."


def _numbers() -> range:
    return range(1, _LONG_SECTIONS + 1)
