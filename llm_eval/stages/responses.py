"""What a model has answered so far, whoever asked: parts on disk, one response kept per request and attempt."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from llm_eval import storage, tables
from llm_eval.layout import Layout
from llm_eval.records import Response


def is_unanswered(response: Response | None) -> bool:
    return response is None or response.error is not None


def latest_of_each(responses: Iterable[Response]) -> dict[tuple[str, int], Response]:
    """One response per request and attempt: the last one, but never a failed one where another was answered."""
    kept: dict[tuple[str, int], Response] = {}
    for response in responses:
        key = (response.request_id, response.attempt)
        if response.error is None or is_unanswered(kept.get(key)):
            kept[key] = response
    return kept


def read_responses(place: Layout) -> dict[tuple[str, int], Response]:
    """All responses so far, by request id and attempt, from every shard and every run with this fingerprint."""
    return latest_of_each(tables.read_all(_parts(place.responses), Response))


def read_some(folder: str, ids: Collection[str]) -> dict[str, Response]:
    """The responses to these requests alone, of a folder that holds many more; first attempts."""
    wanted = set(ids)
    found = [r for part in _parts(folder) for r in tables.read_where(part, Response, "request_id", wanted)]
    return {request_id: response for (request_id, _), response in latest_of_each(found).items()}


def _parts(folder: str) -> list[str]:
    return [f for f in storage.files(folder, ".parquet") if "/part-" in f]
