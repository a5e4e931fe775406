"""What the credentials that an agent wants are called."""

from __future__ import annotations

from collections.abc import Collection

from apps.library.blocks.ask_model import KEY_PROVIDERS
from apps.library.credentials.providers import PROVIDERS

MODEL_KEY = "Model key"
WITHOUT_KEY = "Without one, this installation’s own model answers."


def key_title(providers: Collection[str]) -> str:
    """Return the label of a credentials field.

    Args:
        providers: Whose credentials fit.
    """
    if _is_of_models(providers):
        return MODEL_KEY
    titles = [PROVIDERS[name].title if name in PROVIDERS else name.replace("_", " ").title() for name in providers]
    return f"{' or '.join(titles) or 'Service'} credentials"


def key_help(providers: Collection[str], *, is_required: bool) -> str:
    """Return what happens without credentials, where that isn't plain; else nothing."""
    return WITHOUT_KEY if _is_of_models(providers) and not is_required else ""


def _is_of_models(providers: Collection[str]) -> bool:
    return len(providers) > 1 and set(providers) <= set(KEY_PROVIDERS)
