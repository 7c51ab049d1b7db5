"""The replies that a run's judges gave, as the judge stage read them: verdict and publish go by these alone.

The folder where replies are kept is all runs' together, and another one may ask the same at the same time: a second
reply to a question must not change what has been judged already.
"""

from __future__ import annotations

import re

from llm_eval import layout, storage, tables
from llm_eval.layout import Layout, Shard
from llm_eval.records import Response
from llm_eval.specs import PlannedJudge


def write(place: Layout, judge: PlannedJudge, shard: Shard, replies: dict[str, Response]) -> None:
    """One shard's, with those to its calibration. Files of another number of shards are of an earlier judging."""
    mine = layout.join(place.verdicts, f"replies-{judge.spec.name}-{shard.index}of{shard.count}.parquet")
    tables.write(mine, Response, replies.values())
    for file in _files(place, judge):
        if not file.endswith(f"of{shard.count}.parquet"):
            storage.delete(file)


def read(place: Layout, judge: PlannedJudge) -> dict[str, Response]:
    """By the id of what was asked; {} where nothing has been judged."""
    return {reply.request_id: reply for reply in tables.read_all(_files(place, judge), Response)}


def forget_that_judging_is_done(place: Layout, judge: PlannedJudge) -> None:
    """Its stage runs again then, and asks for what is missing."""
    for file in storage.files(place.verdicts, ".json"):
        if re.fullmatch(rf"manifest-{re.escape(judge.spec.name)}-\d+of\d+\.json", file.rpartition("/")[2]):
            storage.delete(file)


def _files(place: Layout, judge: PlannedJudge) -> list[str]:
    """`judge` and `judge-2` may both be names."""
    named = re.compile(rf"replies-{re.escape(judge.spec.name)}-\d+of\d+\.parquet")
    return [file for file in storage.files(place.verdicts, ".parquet") if named.fullmatch(file.rpartition("/")[2])]
