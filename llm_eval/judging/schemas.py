"""The JSON schema that a judge is held to, for servers that can."""

from __future__ import annotations

from typing import Any

from llm_eval.errors import InvalidSpec
from llm_eval.specs import Correctness, Dimensions, Pairwise, Ranking, Rating, Scale


def schema_of(verdict: Correctness | Rating | Dimensions | Pairwise | Ranking) -> dict[str, Any]:
    """An object with `explanation` first, so that the judge reasons before it decides, then `verdict`.

    Of dimensions: their names instead of `verdict`. Raises InvalidSpec where these depend on the sample.
    """
    match verdict:
        case Correctness() | Pairwise():
            return _object({"verdict": {"type": "string", "enum": list(verdict.labels)}})
        case Dimensions():
            if isinstance(verdict.dimensions, str):
                raise InvalidSpec("structured: true needs `dimensions` as a list, not a template")
            return _object({name: _number(verdict) for name in (*verdict.dimensions, verdict.overall)})
        case Rating():
            return _object({"verdict": _number(verdict)})
        case Ranking():
            return _object({"verdict": {"type": "array", "items": {"type": "string"}}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    properties = {"explanation": {"type": "string"}, **properties}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _number(scale: Scale) -> dict[str, Any]:
    return {"type": "integer" if scale.whole else "number", "minimum": scale.low, "maximum": scale.high}
