"""The pieces of a template that the page for platform teams shows are pieces of a good one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from llm_eval.manifests import templates
from tests.conftest import CHECKOUT
from tests.kubernetes.manifests.pods import NEWEST, schema_mistake

PAGE = (CHECKOUT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
PIECES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def joined(base: Any, piece: Any) -> Any:
    """As a person would: mappings key by key, lists of named things by name, other lists one after the other."""
    if isinstance(base, dict) and isinstance(piece, dict):
        return {**base, **{key: joined(base[key], value) if key in base else value for key, value in piece.items()}}
    if isinstance(base, list) and isinstance(piece, list):
        more = {part["name"]: part for part in piece if "name" in part}
        known = [joined(part, more.pop(part["name"])) if part.get("name") in more else part for part in base]
        return [*known, *(part for part in piece if part.get("name") in more or "name" not in part)]
    return piece


@pytest.mark.parametrize("piece", PIECES)
def test_a_template_with_a_piece_of_the_page_is_good(piece):
    template = joined(dict(templates.read(templates.SHIPPED)), yaml.safe_load(piece))

    assert templates.mistakes(template) == []
    assert schema_mistake(template, NEWEST) is None


def test_the_page_has_pieces_and_they_change_something():
    assert len(PIECES) >= 4
    for piece in PIECES:
        assert joined(templates.read(templates.SHIPPED), yaml.safe_load(piece)) != templates.read(templates.SHIPPED)
