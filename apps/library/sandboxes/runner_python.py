"""Runs a person's Python inside the sandbox; the product itself never imports this.

The value of the last expression is the result. In a sandbox that is kept, what a step defines is there for the next
one: its imports, functions and classes as their source, its values as far as they can be pickled.
"""

import ast
import json
import pickle
import sys
import traceback
import types
from contextlib import suppress
from pathlib import Path

CODE, VARIABLES, RESULT = Path(".fd-code"), Path(".fd-variables"), Path(".fd-result")
SOURCE, VALUES = Path(".fd-source"), Path(".fd-values")
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
DISPLAYS = {
    "_repr_html_": "html",
    "_repr_markdown_": "markdown",
    "_repr_svg_": "svg",
    "_repr_latex_": "latex",
    "_repr_json_": "json",
}


def main() -> int:
    """Run the code; returns the exit code."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    scope = module.__dict__
    keeps = "keep" in sys.argv
    if keeps:
        restore(scope)
    scope.update(json.loads(VARIABLES.read_text(encoding="utf-8")))
    value = None
    try:
        tree = ast.parse(CODE.read_text(encoding="utf-8"), "code.py")
        defined = [ast.unparse(node) for node in tree.body if isinstance(node, DEFINITIONS)]
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "code.py", "exec"), scope)  # noqa: S102 -- this is what it is for
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "code.py", "eval"), scope)  # noqa: S307
    except SystemExit as ending:
        return code_of(ending)
    except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the person's
        found = error.__traceback__
        traceback.print_exception(type(error), error, found.tb_next if found else None)
        return 1
    finally:
        sys.stdout.flush()
    if value is not None:
        RESULT.write_text(json.dumps(shown(value)), encoding="utf-8")
    if keeps:
        keep(scope, defined)
    return 0


def code_of(ending: SystemExit) -> int:
    """Return the exit code that a program asked for."""
    if ending.code is None or isinstance(ending.code, int):
        return ending.code or 0
    print(ending.code, file=sys.stderr)  # noqa: T201
    return 1


def shown(value: object) -> dict:
    """Return the ways in which a value can be shown."""
    found = {"text": repr(value)}
    for method, name in DISPLAYS.items():
        show = getattr(value, method, None)
        if callable(show) and not isinstance(value, type):
            try:
                found[name] = show()
                json.dumps(found[name])
            except Exception:  # noqa: BLE001 -- then it isn't shown like that
                found.pop(name, None)
    if isinstance(value, (dict, list)):
        with suppress(TypeError, ValueError):
            found["json"] = json.loads(json.dumps(value))
    return found


def restore(scope: dict) -> None:
    """Bring back what earlier steps defined."""
    if SOURCE.exists():
        for source in json.loads(SOURCE.read_text(encoding="utf-8")):
            with suppress(Exception):  # it may need a value that couldn't be kept
                exec(source, scope)  # noqa: S102
    if VALUES.exists():
        for name, value in json.loads(VALUES.read_text(encoding="utf-8")).items():
            with suppress(Exception):  # its class may be gone
                scope[name] = pickle.loads(bytes.fromhex(value))  # noqa: S301 -- the sandbox's own file, inside it


def keep(scope: dict, defined: list) -> None:
    """Store what this step and earlier ones defined."""
    earlier = json.loads(SOURCE.read_text(encoding="utf-8")) if SOURCE.exists() else []
    SOURCE.write_text(json.dumps([*earlier, *defined]), encoding="utf-8")
    values = {}
    for name, value in scope.items():
        if name.startswith("__") or isinstance(value, (types.ModuleType, types.FunctionType, type)):
            continue
        with suppress(Exception):  # open files and the like can't be kept
            values[name] = pickle.dumps(value).hex()
    VALUES.write_text(json.dumps(values), encoding="utf-8")


sys.exit(main())
