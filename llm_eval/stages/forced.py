"""What a forced stage does not count: the answers that were there when it was forced, and none that came since.

So a forced stage that is killed, or that comes again for a batch, goes on where it was, as any other does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_eval import layout, storage

if TYPE_CHECKING:
    from llm_eval.stages import StageContext


def outdated(context: StageContext, stage: str, *folders: str) -> frozenset[str]:
    """Names of the files that lay in these folders when this stage of this run was forced; none where it is not."""
    if not context.force:
        return frozenset()
    names = sorted(file.rpartition("/")[2] for folder in folders for file in storage.files(folder))
    mark = _mark(context, stage)
    if storage.create_json(mark, {"files": names}):
        return frozenset(names)
    return frozenset(storage.read_json(mark)["files"])


def is_over(context: StageContext, stage: str) -> None:
    """The stage is complete: who forces it again means anew."""
    if context.force:
        storage.delete(_mark(context, stage))


def _mark(context: StageContext, stage: str) -> str:
    shard = context.shard
    who = f"{stage}-{context.judge}" if context.judge else stage
    return layout.join(context.layout.run_uri, f"forced-{who}-{shard.index}of{shard.count}.json")
