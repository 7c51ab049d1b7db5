"""Which worked examples a sample's prompt shows."""

from __future__ import annotations

from collections.abc import Sequence

from llm_eval.errors import InvalidData
from llm_eval.records import Sample
from llm_eval.specs import FewShot


def pick(spec: FewShot, pool: Sequence[Sample], subset: str) -> tuple[Sample, ...]:
    """The examples for samples of `subset`, from the few-shot split, in prompt order.

    Taken from the subset's own rows, or from all rows where the split has no subsets of its own. Written-out examples
    (`spec.examples`) are not samples: see stages.render. Raises InvalidData if there are fewer rows than asked for.
    """
    rows = [s for s in pool if s.subset == subset] or (list(pool) if not any(s.subset for s in pool) else [])
    wanted = list(range(spec.count or 0)) if spec.select == "first" else list(spec.rows)
    if wanted and max(wanted) >= len(rows):
        raise InvalidData(
            f"few_shot asks for row {max(wanted)} of the few-shot split of subset {subset!r}, which has {len(rows)}. "
            "Give the source a few_shot_path (or few_shot_split) with enough rows, or lower few_shot.count."
        )
    return tuple(rows[i] for i in wanted)
