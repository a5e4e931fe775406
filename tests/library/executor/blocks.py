"""Blocks for tests of runs: loaded through LIBRARY_BLOCK_MODULES. What they do is noted in `LOG`."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from pydantic import Field

from apps.engines.base import Usage
from apps.library.blocks.base import Block, BlockType, Category, Cost, CostType, Pins, credentials_field
from apps.library.errors import BlockError

LOG: list[tuple[str, Any]] = []
GATE = threading.Event()
ASKED: dict[str, Any] = {}

TAKE, GIVE, ADD, EACH, FAIL, WAIT, GATED, PAID, METERED, ONCE, DEAF, SLOW, KEEP, SENSITIVE, COLLECT, KEYED, ENDLESS = (
    f"00000000-0000-4000-8000-0000000000{number:02d}" for number in range(1, 18)
)
AWKWARD = "00000000-0000-4000-8000-000000000018"
SENSITIVE_NUMBER = "00000000-0000-4000-8000-000000000019"


class Value(Pins):
    value: Any = None


class Named(Pins):
    name: str
    value: Any = None


class Out(Pins):
    out: Any = None


class Take(Block[Any]):
    """An input."""

    id = TAKE
    name = "Take"
    description = "An input."
    type = BlockType.INPUT
    static_output = True
    is_idempotent = True
    Input = Named
    Output = Out

    async def run(self, inputs, context):
        if inputs.value is not None:
            yield "out", inputs.value


class Give(Block[Any]):
    """An output."""

    id = GIVE
    name = "Give"
    description = "An output."
    type = BlockType.OUTPUT
    is_idempotent = True
    Input = Named

    class Output(Pins):
        output: Any
        name: str

    async def run(self, inputs, context):
        yield "output", inputs.value


class Numbers(Pins):
    a: float = 0
    b: float = 0


class Add(Block[Any]):
    """Adds."""

    id = ADD
    name = "Add"
    description = "Adds two numbers."
    categories = frozenset({Category.LOGIC})
    is_idempotent = True
    Input = Numbers
    Output = Out

    async def run(self, inputs, context):
        yield "out", inputs.a + inputs.b


class Items(Pins):
    items: list[Any] = Field(default_factory=list)


class Each(Block[Any]):
    """Every item."""

    id = EACH
    name = "Each"
    description = "Puts every item out."
    categories = frozenset({Category.LOGIC})
    is_idempotent = True
    Input = Items

    class Output(Pins):
        item: Any = None

    async def run(self, inputs, context):
        for item in inputs.items:
            yield "item", item


class Fail(Block[Any]):
    """Fails."""

    id = FAIL
    name = "Fail"
    description = "Fails when it is told to."
    is_idempotent = True
    Input = Value
    Output = Out

    async def run(self, inputs, context):
        yield "out", inputs.value
        if inputs.value == "bug":
            raise KeyError("secret words")
        raise BlockError(f"no {inputs.value}")


class Delay(Pins):
    value: Any = None
    seconds: float = 0.05


class Wait(Block[Any]):
    """Waits; may run twice."""

    id = WAIT
    name = "Wait"
    description = "Waits a while."
    is_idempotent = True
    Input = Delay
    Output = Out

    async def run(self, inputs, context):
        LOG.append(("start", inputs.value))
        await asyncio.sleep(inputs.seconds)
        LOG.append(("end", inputs.value))
        yield "out", inputs.value


class Gated(Block[Any]):
    """Waits for the test; must not run twice."""

    id = GATED
    name = "Gated"
    description = "Waits until the test opens the gate."
    Input = Value
    Output = Out

    async def run(self, inputs, context):
        LOG.append(("start", inputs.value))
        while not GATE.is_set():
            await asyncio.sleep(0.01)
        LOG.append(("end", inputs.value))
        yield "out", inputs.value


class Paid(Block[Any]):
    """Costs 3 cents."""

    id = PAID
    name = "Paid"
    description = "Costs 3 cents a use, or nothing."
    Input = Value
    Output = Out
    costs = (
        Cost(type=CostType.RUN, amount_microdollars=0, when={"value": "free"}),
        Cost(type=CostType.RUN, amount_microdollars=30_000),
    )

    async def run(self, inputs, context):
        LOG.append(("paid", inputs.value))
        if inputs.value == "slow":
            await asyncio.sleep(0.3)
        yield "out", inputs.value
        if inputs.value == "fail":
            raise BlockError("it failed")


class Usages(Pins):
    kind: str = ""


class Metered(Block[Any]):
    """Costs by what it uses."""

    id = METERED
    name = "Metered"
    description = "Costs what it uses."
    Input = Usages
    Output = Out
    costs = (
        Cost(type=CostType.TOKENS, amount_microdollars=100, when={"kind": "tokens"}),
        Cost(type=CostType.ITEMS, amount_microdollars=4_000, when={"kind": "items"}),
        Cost(type=CostType.BYTE, amount_microdollars=1_000, when={"kind": "byte"}),
        Cost(type=CostType.SECOND, amount_microdollars=1_000_000, when={"kind": "second"}),
        Cost(type=CostType.COST_USD, amount_microdollars=1_500_000),
    )

    async def run(self, inputs, context):
        context.stats.usage += Usage(prompt_tokens=300, completion_tokens=200, cost_microdollars=20_000)
        context.stats.model_calls += 1
        context.stats.items = 7
        await asyncio.sleep(0.05)
        yield "out", "0123456789"


class Once(Block[Any]):
    """Must not run twice."""

    id = ONCE
    name = "Once"
    description = "Notes that it ran."
    Input = Value
    Output = Out

    async def run(self, inputs, context):
        LOG.append(("once", context.node_execution_id))
        await asyncio.sleep(0)
        yield "out", inputs.value


class Deaf(Block[Any]):
    """Ignores its cancellation for a while."""

    id = DEAF
    name = "Deaf"
    description = "Ignores its cancellation."
    Input = Value
    Output = Out

    async def run(self, inputs, context):
        yield "out", "first"
        ends = asyncio.get_running_loop().time() + 8
        while (left := ends - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                LOG.append(("deaf", None))


class Slow(Block[Any]):
    """Takes longer than it may."""

    id = SLOW
    name = "Slow"
    description = "Takes longer than it may."
    timeout_seconds = 0.2
    Input = Value
    Output = Out

    async def run(self, inputs, context):
        yield "out", "before"
        await asyncio.sleep(30)


class Keep(Block[Any]):
    """A static value."""

    id = KEEP
    name = "Keep"
    description = "Keeps a value."
    categories = frozenset({Category.BASIC})
    static_output = True
    is_idempotent = True
    Input = Value
    Output = Out

    async def run(self, inputs, context):
        yield "out", inputs.value


class Sensitive(Block[Any]):
    """Does something to the world."""

    id = SENSITIVE
    name = "Sensitive"
    description = "Sends something."
    is_sensitive_action = True
    Input = Value
    Output = Out

    async def run(self, inputs, context):
        LOG.append(("sent", inputs.value))
        yield "out", inputs.value


class Measure(Pins):
    value: float = 0


class SensitiveNumber(Block[Any]):
    """Does something to the world, by a number."""

    id = SENSITIVE_NUMBER
    name = "Sensitive number"
    description = "Sends a number."
    is_sensitive_action = True
    Input = Measure
    Output = Out

    async def run(self, inputs, context):
        yield "out", inputs.value


class Collect(Block[Any]):
    """An accumulator."""

    id = COLLECT
    name = "Collect"
    description = "Appends to a list."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        items: list[Any] = Field(default_factory=list)
        entry: Any = None

    Output = Out

    async def run(self, inputs, context):
        yield "out", [*inputs.items, inputs.entry]


class Keyed(Block[Any]):
    """Needs a credential."""

    id = KEYED
    name = "Keyed"
    description = "Calls a service."

    class Input(Pins):
        credentials: Any = credentials_field("acme")
        text: str

    class Output(Pins):
        answer: str = Field(description="What the service says.")
        count: int = 0
        rows: list[dict[str, Any]] = Field(default_factory=list)

    async def run(self, inputs, context):
        ASKED["secret"] = context.secrets["credentials"].values
        yield "answer", "hello"


class Endless(Block[Any]):
    """Puts values out for ever."""

    id = ENDLESS
    name = "Endless"
    description = "Puts values out for ever."
    timeout_seconds = None
    Input = Delay
    Output = Out

    async def run(self, inputs, context):
        number = 0
        while True:
            yield "out", number
            number += 1
            await asyncio.sleep(inputs.seconds)


class Awkward(Block[Any]):
    """Puts out what databases refuse."""

    id = AWKWARD
    name = "Awkward"
    description = "Puts out what databases refuse."
    Input = Value
    Output = Out

    async def run(self, inputs, context):
        match inputs.value:
            case "error":
                raise BlockError("bad \x00 and \ud800")
            case "error pin":
                yield "error", "bad \x00 and \ud800"
            case "pin":
                yield "nul \x00 and \ud800", 1
            case "long pin":
                yield "x" * 301, 1
        yield "out", {"nul \x00 and \ud800": [float("inf"), float("nan"), 1 << 70]}
