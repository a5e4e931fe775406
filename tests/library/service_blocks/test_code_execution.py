"""Blocks that run code: languages, results, steps, and everything that goes wrong."""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import ValidationError

from apps.library.blocks.code_execution import ExecuteCode, ExecuteCodeStep, InstantiateCodeSandbox
from apps.library.errors import BlockError
from apps.library.sandboxes import kept
from apps.runtime import sandbox
from tests.library.service_blocks.conftest import context_for, run_block
from tests.sandboxes import require_sandbox


@pytest.fixture
def runs():
    require_sandbox()


@pytest.fixture
def places(tmp_path_factory, monkeypatch):
    """Kept sandboxes lie in a place of this test's own, which the sandbox's user can reach."""
    made = Path(tempfile.mkdtemp(prefix="kept-"))
    made.chmod(0o711)
    monkeypatch.setattr(kept.tempfile, "gettempdir", lambda: str(made))
    yield made
    import shutil

    shutil.rmtree(made, ignore_errors=True)


async def test_python_says_writes_and_makes_files(runs):
    code = "import sys, json\nprint('out')\nprint('err', file=sys.stderr)\nopen('a.txt', 'w').write('x')\n{'n': n + 1}"
    found = await run_block(ExecuteCode, {"code": code, "variables": {"n": 41}})
    assert found["main_result"] == [{"text": "{'n': 42}", "json": {"n": 42}}]
    assert found["results"] == [found["main_result"]]
    assert found["response"] == ["{'n': 42}"]
    assert (found["stdout_logs"], found["stderr_logs"]) == (["out\n"], ["err\n"])
    assert found["files"] == [
        [
            {
                "path": "a.txt",
                "name": "a.txt",
                "mime_type": "text/plain",
                "size": 1,
                "content": "data:text/plain;base64," + base64.b64encode(b"x").decode(),
            }
        ]
    ]


async def test_code_without_a_value_has_no_result(runs):
    assert await run_block(ExecuteCode, {"code": "x = 1"}) == {"stdout_logs": [""], "stderr_logs": [""]}
    assert await run_block(ExecuteCode, {}) == {"stdout_logs": [""], "stderr_logs": [""]}


async def test_bash_and_its_variables(runs):
    found = await run_block(
        ExecuteCode,
        {"code": 'echo "$name is $n"', "language": "bash", "variables": {"name": "Al ice", "n": 3, "a-b": 1}},
    )
    assert found["response"] == ["Al ice is 3"]
    text = 'it\'s "$HOME" `id`;\nnext'
    variables = {"text": text, "UID": 5, "ü": 1, "rows": [{"a": "é"}], "_1": None}
    code = 'printf "%s|%s|%s" "$text" "$rows" "$_1"; [ "$UID" = 5 ] || bash -c "echo; echo $_1"'
    found = await run_block(ExecuteCode, {"code": code, "language": "bash", "variables": variables})
    assert found["response"] == [f'{text}|[{{"a": "\\u00e9"}}]|null\nnull']
    assert found["stderr_logs"] == [""]


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV"])
async def test_variables_do_not_reach_what_sets_the_limits(runs, name):
    """A program of the person's in the place of what sets them would run without any."""
    fake = "printf '#!/bin/bash\nwhile [ $1 != -- ]; do shift; done; shift; exec \"$@\"' > prlimit; chmod +x prlimit"
    place = {"PATH": "/work:/usr/bin:/bin", "LD_LIBRARY_PATH": "/work"}.get(name, "/work/prlimit")
    data = {"setup_commands": [fake], "code": "ulimit -u; ulimit -f", "language": "bash", "variables": {name: place}}
    [said] = (await run_block(ExecuteCode, data))["stdout_logs"]
    assert said.split() == [str(sandbox.PROCESSES), str(sandbox.FILE_BYTES // 1024)]


@pytest.mark.parametrize(
    ("code", "response"),
    [
        ("const a = {x: n}; console.log('out'); a", "{ x: 2 }"),
        ("require('node:os').EOL.length", "1"),
        ("Promise.resolve(7)", "7"),
        ("import fs from 'node:fs'; console.log(await Promise.resolve(fs.existsSync('.')))", None),
    ],
)
async def test_javascript(runs, code, response):
    found = await run_block(ExecuteCode, {"code": code, "language": "js", "variables": {"n": 2}})
    assert found.get("response") == (None if response is None else [response])
    if "console" in code:
        assert found["stdout_logs"] in (["out\n"], ["true\n"])


@pytest.mark.parametrize("language", ["r", "java"])
async def test_a_language_that_is_not_here_says_so(language):
    with pytest.raises(BlockError, match=f"Code in {language} can't be run"):
        await run_block(ExecuteCode, {"code": "1", "language": language})
    with pytest.raises(BlockError, match="can't be run"):
        await run_block(InstantiateCodeSandbox, {"language": language})


@pytest.mark.parametrize("bad", [{"language": "cobol"}, {"timeout": "soon"}, {"variables": 5}])
def test_inputs_of_the_wrong_kind_are_refused(bad):
    with pytest.raises(ValidationError):
        ExecuteCode.Input.model_validate(bad)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"code": "1/0"}, "ZeroDivisionError"),
        ({"code": "def"}, "SyntaxError"),
        ({"code": "exit(3)"}, "exit code 3"),
        ({"code": "throw new Error('boom')", "language": "js"}, "boom"),
        ({"code": "let let", "language": "js"}, "SyntaxError"),
        ({"code": "ls /nowhere", "language": "bash"}, "No such file"),
        ({"code": "while True: pass", "timeout": 1}, "too long"),
        ({"code": "while True: print('x' * 1000)"}, "more than is taken"),
        ({"setup_commands": ["true", "ls /nowhere"]}, "Setup command 2 failed"),
        ({"setup_commands": ["sleep 30"], "timeout": 1}, "too long"),
        ({"code": "import urllib.request as u; u.urlopen('http://example.com')"}, "URLError"),
        ({"code": "#" * 1024 * 1025}, "too long"),
    ],
)
async def test_code_that_fails_fails_the_block_with_its_words(runs, data, words):
    with pytest.raises(BlockError, match=words):
        await run_block(ExecuteCode, data)


async def test_a_traceback_shows_the_persons_code_alone(runs):
    with pytest.raises(BlockError) as caught:
        await run_block(ExecuteCode, {"code": "def f():\n    return missing\nf()"})
    assert "NameError" in str(caught.value)
    assert "code.py" in str(caught.value)
    assert "runner" not in str(caught.value)


async def test_setup_comes_first(runs):
    found = await run_block(ExecuteCode, {"setup_commands": ["echo 5 > n"], "code": "int(open('n').read())"})
    assert found["response"] == ["5"]


async def test_nothing_of_one_run_is_left_for_the_next(runs):
    await run_block(ExecuteCode, {"code": "open('secret', 'w').write('x')"})
    found = await run_block(
        ExecuteCode, {"code": "import os; [n for n in os.listdir('.') if not n.startswith('.fd-')]"}
    )
    assert found["response"] == ["[]"]


@pytest.mark.parametrize("written", ["'not json'", "'[1]'", "'{\"text\": 5}'", "'x' * 2_000_000"])
async def test_a_result_that_the_code_forged_does_no_harm(runs, written):
    code = f"import atexit\natexit.register(lambda: open('.fd-result', 'w').write({written}))"
    assert "response" not in await run_block(ExecuteCode, {"code": code})


async def test_without_a_sandbox_no_code_runs(monkeypatch, places):
    monkeypatch.setattr(sandbox, "why_unavailable", lambda: "There is none.")
    for block, data in (
        (ExecuteCode, {"code": "1"}),
        (ExecuteCode, {"setup_commands": ["true"]}),
        (InstantiateCodeSandbox, {"setup_code": "1"}),
    ):
        with pytest.raises(BlockError, match=r"can't be run on this installation\. There is none\."):
            await run_block(block, data)
    assert not list(places.rglob("sandbox-*"))


# Several steps ------------------------------------------------------------------------------------------------------


SETUP = """
import math
from dataclasses import dataclass
@dataclass
class P:
    x: int
def twice(n): return n * 2
n, p, f = 20, P(3), open('log', 'w')
"""


async def test_steps_share_files_and_what_python_defines(runs, places):
    made = await run_block(InstantiateCodeSandbox, {"setup_commands": ["echo hi > file"], "setup_code": SETUP})
    [sandbox_id] = made["sandbox_id"]
    first = await run_block(
        ExecuteCodeStep, {"sandbox_id": sandbox_id, "step_code": "n = twice(n) + math.floor(p.x)\nopen('file').read()"}
    )
    assert first["response"] == ["'hi\\n'"]
    second = await run_block(ExecuteCodeStep, {"sandbox_id": sandbox_id, "step_code": "n"})
    assert second["response"] == ["43"]
    third = await run_block(ExecuteCodeStep, {"sandbox_id": sandbox_id, "step_code": "cat file", "language": "bash"})
    assert third["response"] == ["hi"]
    with pytest.raises(BlockError, match="NameError"):
        await run_block(ExecuteCodeStep, {"sandbox_id": sandbox_id, "step_code": "f"})


async def test_steps_of_one_sandbox_run_one_after_the_other(runs, places):
    [sandbox_id] = (await run_block(InstantiateCodeSandbox, {"setup_code": "n = 0"}))["sandbox_id"]
    steps = [
        run_block(ExecuteCodeStep, {"sandbox_id": sandbox_id, "step_code": f"n += 1\nprint('step {number}')"})
        for number in range(4)
    ]
    found = await asyncio.gather(*steps)
    assert [step["stdout_logs"] for step in found] == [[f"step {number}\n"] for number in range(4)]
    last = await run_block(ExecuteCodeStep, {"sandbox_id": sandbox_id, "step_code": "n"})
    assert last["response"] == ["4"]


async def test_who_waits_for_a_sandbox_can_be_cancelled_and_hears_that_it_is_gone(runs, places):
    [sandbox_id] = (await run_block(InstantiateCodeSandbox, {"setup_code": "n = 0"}))["sandbox_id"]
    step = {"sandbox_id": sandbox_id, "step_code": "n"}
    async with kept.in_use(context_for().user_id, sandbox_id):
        waiting = [asyncio.ensure_future(run_block(ExecuteCodeStep, step)) for _ in range(2)]
        await asyncio.sleep(0.2)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        await kept.remove(context_for().user_id, sandbox_id)
    with pytest.raises(BlockError, match="isn't there any more"):
        await waiting[1]


async def test_another_person_does_not_reach_a_sandbox(runs, places):
    made = await run_block(InstantiateCodeSandbox, {"setup_code": "n = 1"})
    [sandbox_id] = made["sandbox_id"]
    stranger = context_for(user_id=uuid4())
    for named in (sandbox_id, f"../{context_for().user_id}/{sandbox_id}", "", "..", "sandbox-00000000", "/tmp"):
        with pytest.raises(BlockError, match="isn't there any more"):
            await run_block(ExecuteCodeStep, {"sandbox_id": named, "step_code": "n"}, stranger)


async def test_a_setup_that_fails_leaves_no_sandbox(runs, places):
    with pytest.raises(BlockError, match="ZeroDivisionError"):
        await run_block(InstantiateCodeSandbox, {"setup_code": "1/0"})
    with pytest.raises(BlockError, match="Setup command"):
        await run_block(InstantiateCodeSandbox, {"setup_commands": ["false"]})
    assert not list(places.rglob("sandbox-*"))


async def test_the_oldest_sandboxes_make_room(runs, places):
    ids = []
    for number in range(kept.MOST_KEPT + 1):
        ids.append(await kept.make(context_for().user_id))
        mark = next(places.rglob(f"{ids[-1]}.used"))
        os.utime(mark, (mark.stat().st_mtime - 100 + number,) * 2)
    assert len([place for place in places.rglob("sandbox-*") if place.is_dir()]) == kept.MOST_KEPT
    with pytest.raises(BlockError):
        kept.find(context_for().user_id, ids[0])
    mark = next(places.rglob(f"{ids[-1]}.used"))
    os.utime(mark, (0, 0))
    with pytest.raises(BlockError):
        kept.find(context_for().user_id, ids[-1])


async def test_a_place_that_somebody_else_made_is_not_used(places):
    root = places / f"flightdeck-sandboxes-{os.geteuid()}"
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(BlockError, match="no safe place"):
        await kept.make(context_for().user_id)


async def test_cancelling_ends_the_code_and_removes_its_place(runs, monkeypatch):
    import apps.library.blocks.code_execution as module

    made = []
    monkeypatch.setattr(module, "make_workdir", lambda: made.append(sandbox.make_workdir()) or made[-1])
    running = asyncio.ensure_future(run_block(ExecuteCode, {"code": "import time\ntime.sleep(60)"}))
    await asyncio.sleep(0.7)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert made
    assert not made[0].exists()


async def test_what_no_database_can_keep_is_replaced(runs):
    found = await run_block(ExecuteCode, {"code": r"print('a\0b'); {'k\0': ['\ud800', chr(0)]}"})
    assert found["stdout_logs"] == ["a\ufffdb\n"]
    assert found["main_result"][0]["json"] == {"k\ufffd": ["?", "\ufffd"]}
