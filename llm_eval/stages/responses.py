"""What a model has answered so far, whoever asked: parts on disk, one response kept per request and attempt."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping

from llm_eval import layout, storage, tables
from llm_eval.fingerprint import fingerprint
from llm_eval.layout import WHOLE, Layout, Shard
from llm_eval.prompts import turn_id
from llm_eval.records import LATER_OF_RESPONSES, Response


def is_unanswered(response: Response | None) -> bool:
    return response is None or response.error is not None


def latest_of_each(responses: Iterable[Response]) -> dict[tuple[str, int], Response]:
    """One response per request and attempt: the last one, but never a failed one where another was answered.

    Of a conversation, what was said as it stands: no turn after another answer than that which it was asked after.
    Where two runs have asked at once, the longer one counts, of equal ones the last.
    """
    responses = list(responses)
    kept: dict[tuple[str, int], Response] = {}
    for response in responses:
        key = (response.request_id, response.attempt)
        if response.error is None or is_unanswered(kept.get(key)):
            kept[key] = response
    conversations = {r.request_id.rpartition("#")[0] for r in responses if r.continues is not None}
    if conversations:
        said: dict[str, list[Response]] = {}
        for response in responses:
            if response.error is None:
                said.setdefault(response.request_id, []).append(response)
        for first in conversations:
            _hold_together(first, said, kept)
    return kept


def _hold_together(first: str, said: Mapping[str, list[Response]], kept: dict[tuple[str, int], Response]) -> None:
    """Of one conversation, whose first request is `first`, keep the turns that follow each other."""
    chosen = _longest(first, 1, said, ())
    for turn in itertools.count(1):
        if (request_id := turn_id(first, turn)) not in said:
            return
        before = fingerprint(*(response.text or "" for response in chosen[: turn - 1]))
        fitting = {r.attempt: r for r in said[request_id] if turn == 1 or r.continues == before}
        for attempt in {response.attempt for response in said[request_id]}:
            kept.pop((request_id, attempt), None)
        kept |= {(request_id, attempt): response for attempt, response in fitting.items()}
        if turn <= len(chosen):
            kept[request_id, 0] = chosen[turn - 1]


def _longest(first: str, turn: int, said: Mapping[str, list[Response]], before: tuple[str, ...]) -> list[Response]:
    """The longest way on from these answers; of equal ones the last to be written."""
    different: dict[str, Response] = {}
    for response in said.get(turn_id(first, turn), ()):
        if response.attempt == 0 and (turn == 1 or response.continues == fingerprint(*before)):
            different.pop(response.text or "", None)
            different[response.text or ""] = response
    ways = [[response, *_longest(first, turn + 1, said, (*before, text))] for text, response in different.items()]
    return max(reversed(ways), key=len, default=[])


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
    return latest_of_each(
        tables.read_all([layout.join(place.responses, name) for name in names], Response, LATER_OF_RESPONSES)
    )


def read_some(folder: str, ids: Collection[str], without: Collection[str] = ()) -> dict[str, Response]:
    """The responses to these requests alone, of a folder that holds many more; first attempts.

    without: names of parts that do not count.
    """
    parts = [part for part in _parts(folder) if part.rpartition("/")[2] not in without]
    found = tables.read_where(parts, Response, "request_id", set(ids), LATER_OF_RESPONSES)
    return {request_id: response for (request_id, _), response in latest_of_each(found).items()}


def _parts(folder: str) -> list[str]:
    return [f for f in storage.files(folder, ".parquet") if "/part-" in f]
