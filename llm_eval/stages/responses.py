"""What a model has answered so far, whoever asked: parts on disk, one response kept per request and attempt."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from llm_eval import layout, storage, tables
from llm_eval.layout import WHOLE, Layout, Shard
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


def read_responses(
    place: Layout, shard: Shard = WHOLE, without: Collection[str] = ()
) -> dict[tuple[str, int], Response]:
    """All responses so far, by request id and attempt, from every shard and every run with this fingerprint.

    shard: at least those to its requests. Parts of its siblings, the other shards of as many, hold none of them.
    without: names of parts that do not count.
    """
    siblings = re.compile(rf"-(?!{shard.index}of)\d+of{shard.count}-")
    return read_parts(place, [p for p in parts_so_far(place) if not siblings.search(p) and p not in without])


def parts_so_far(place: Layout) -> list[str]:
    """Names of the files that hold the responses so far, in the order of their writers' beginnings."""
    return [part.rpartition("/")[2] for part in _parts(place.responses)]


def read_parts(place: Layout, names: Iterable[str]) -> dict[tuple[str, int], Response]:
    """The responses of these files alone: whoever comes later changes nothing about them."""
    return latest_of_each(tables.read_all([layout.join(place.responses, name) for name in names], Response))


def read_some(folder: str, ids: Collection[str], without: Collection[str] = ()) -> dict[str, Response]:
    """The responses to these requests alone, of a folder that holds many more; first attempts.

    without: names of parts that do not count.
    """
    parts = [part for part in _parts(folder) if part.rpartition("/")[2] not in without]
    found = tables.read_where(parts, Response, "request_id", set(ids))
    return {request_id: response for (request_id, _), response in latest_of_each(found).items()}


def _parts(folder: str) -> list[str]:
    return [f for f in storage.files(folder, ".parquet") if "/part-" in f]
