"""JSON values that many share and nobody can change, yet which every JSON encoder takes as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

from apps.engines.base import ToolSpec


class FrozenDict(dict[str, Any]):
    """A dict that can't be changed; a deep copy of it is an ordinary one, for those who want to add marks."""

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("This is shared and frozen; change a deep copy.")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        """Return an ordinary dict with everything in it copied."""
        return {key: thawed(value) for key, value in self.items()}


def frozen(value: Any) -> Any:
    """Return a JSON value in which nothing can be changed: lists become tuples, which are encoded alike."""
    if isinstance(value, dict):
        return FrozenDict({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    return value


def thawed(value: Any) -> Any:
    """Return an ordinary, changeable copy of a frozen JSON value."""
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [thawed(item) for item in value]
    return value


def frozen_spec(spec: ToolSpec) -> ToolSpec:
    """Return a tool's description with a schema of its own that can't be changed."""
    return replace(spec, parameters=frozen(spec.parameters))
