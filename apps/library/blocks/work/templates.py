"""Filling templates that people wrote."""

from __future__ import annotations

from typing import Any

#: Jinja's own globals that templates of agents have a use for; `lipsum` and kin only make them larger.
KEPT_GLOBALS = ("range", "dict", "namespace", "cycler", "joiner")


def fill_template(source: str, values: dict[str, Any], escape_html: bool) -> str:
    """Fill a Jinja2 template.

    Args:
        source: The template; it can load no others.
        values: Its variables; one that isn't there is empty.
        escape_html: Whether values are escaped.

    Returns:
        The text.

    Raises:
        ValueError: It is malformed, can't be filled with these values, or reaches for Python's insides.
    """
    from jinja2 import TemplateError, TemplateSyntaxError  # only children need it
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(autoescape=escape_html)
    environment.globals = {name: environment.globals[name] for name in KEPT_GLOBALS}
    try:
        return environment.from_string(source).render(values)
    except SecurityError:
        raise ValueError("The template uses something that templates may not use.") from None
    except TemplateSyntaxError as error:
        raise ValueError(f"Line {error.lineno} of the template: {error.message}") from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"The template can't be filled: {error}") from None
