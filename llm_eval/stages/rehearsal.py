"""What a run's judges will be asked, tried before the model is: a template or a baseline that fails costs no answer."""

from __future__ import annotations

from collections.abc import Sequence

from llm_eval.errors import InvalidSpec
from llm_eval.judging.asks import asks_of
from llm_eval.judging.subjects import Subject
from llm_eval.records import Sample
from llm_eval.stages import StageContext, baselines


def rehearse(context: StageContext, samples: Sequence[Sample]) -> None:
    """Put every sample before every judge, the model's answers still blank.

    Raises InvalidSpec for a judge's template that fails, InvalidData for a baseline that lacks answers.
    """
    run = context.run
    others = [(each.name, baselines.read(each, samples, context.settings)) for each in run.baselines]
    for judge in run.judges:
        for sample in samples:
            last = 1 + len(sample.follow_ups)
            for turn in range(1, last + 1) if judge.spec.turns == "each" else [last]:
                opponents = tuple((name, texts[sample.id][:turn]) for name, texts in others)
                try:
                    asks_of(Subject(sample, 0, turn, ("",) * turn, opponents), judge.spec, judge.model.chat)
                except InvalidSpec as error:
                    raise InvalidSpec(f"judge {judge.spec.name!r}, sample {sample.id!r}: {error}") from error
