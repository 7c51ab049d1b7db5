"""Jinja, sandboxed and strict: a name that is not there is an error, never an empty string."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llm_eval.errors import InvalidSpec

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

_LONE_EXPRESSION = re.compile(r"\{\{(?P<expression>(?:(?!\}\}|\{\{|\{%).)*)\}\}", re.DOTALL)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # No autoescape: prompts are text for a model, not HTML. Newlines stand as the author wrote them.
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=_not_null
    )


def _not_null(value: Any) -> Any:
    if value is None:
        raise ValueError("a value is null; if that is meant, say what to write instead, as in {{ x or '' }}")
    return value


@lru_cache(maxsize=4096)
def _compiled(source: str) -> Any:
    from jinja2 import TemplateSyntaxError

    try:
        template = _environment().from_string(source)
    except TemplateSyntaxError as error:
        raise InvalidSpec(f"template {source!r} is not valid Jinja: {error.message}") from error
    template.globals = dict(template.globals)  # a ChainMap, copied on every rendering: a third of the time
    return template


@lru_cache(maxsize=4096)
def _compiled_expression(source: str) -> Any:
    from jinja2 import TemplateSyntaxError

    try:
        return _environment().compile_expression(source, undefined_to_none=False)
    except TemplateSyntaxError as error:
        raise InvalidSpec(f"expression {source!r} is not valid Jinja: {error.message}") from error


def check(source: str) -> None:
    """Raises InvalidSpec if `source` does not compile."""
    _compiled(source)


def _failed(source: str, names: Mapping[str, Any], error: Exception) -> InvalidSpec:
    return InvalidSpec(f"template {source!r}: {error}. Names it may use: {', '.join(sorted(names))}.")


def render(source: str, names: Mapping[str, Any]) -> str:
    """`source` with `names` filled in. Raises InvalidSpec for an unknown name, a forbidden or a failing expression."""
    template = _compiled(source)
    try:
        text: str = template.render(names)
        return text
    except Exception as error:  # a template may fail in any way: index, type, attribute, security
        raise _failed(source, names, error) from error


def render_list(source: str, names: Mapping[str, Any]) -> tuple[str, ...]:
    """Values of a template that may be one `{{ expression }}` yielding a list; a plain string makes one value."""
    match = _LONE_EXPRESSION.fullmatch(source.strip())
    if match is None:
        return (render(source, names),)
    expression = _compiled_expression(match["expression"])
    try:
        value = expression(names)  # as a mapping: a column may be called `self`
        if isinstance(value, list | tuple):
            return tuple(str(_not_null(v)) for v in value)
        return (str(_not_null(value)),)  # StrictUndefined raises here, when it is looked at
    except Exception as error:
        raise _failed(source, names, error) from error
