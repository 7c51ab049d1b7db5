"""What is put before a run's judges: every answer that they have to judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llm_eval.errors import IncompleteStage
from llm_eval.judging import panels
from llm_eval.judging.subjects import Subject
from llm_eval.layout import Shard
from llm_eval.prompts import turn_id
from llm_eval.records import Response
from llm_eval.specs import JudgeSpec, RunSpec
from llm_eval.stages import StageContext, baselines
from llm_eval.stages.fetch import limited_samples
from llm_eval.stages.scored import Scored


class Shown:
    """Whatever of a run's answers is put before a judge."""

    def __init__(self, subjects: Sequence[Subject], broken: Mapping[int, str]) -> None:
        self.subjects = subjects
        self.broken = broken
        """Place of a subject whose answer never came → why."""

    def part(self, shard: Shard) -> Shown:
        """One shard's share."""
        places = range(shard.index, len(self.subjects), shard.count)
        broken = {mine: self.broken[place] for mine, place in enumerate(places) if place in self.broken}
        return Shown([self.subjects[place] for place in places], broken)


def shown_to(judge: JudgeSpec, context: StageContext, scored: Scored) -> Shown:
    """Every answer that a judge has to judge, in the order of the samples, each attempt by itself.

    Raises IncompleteStage if responses are missing, InvalidData for a baseline that lacks answers.
    """
    run, place = context.run, context.layout
    samples = limited_samples(place, run.params.limit)
    responses = scored.responses(place)
    others = [(each.name, baselines.read(each, samples, context.settings)) for each in run.baselines]
    left = _left_to_judge(run, scored)
    subjects: list[Subject] = []
    broken: dict[int, str] = {}
    for sample in samples:
        title = run.dataset.subsets.get(sample.subset, sample.subset)
        turns = range(1, 2 + len(sample.follow_ups))
        for attempt in range(run.dataset.generation.attempts):
            if left is not None and (sample.id, attempt) not in left:
                continue
            answers = [_found(responses, turn_id(sample.id, turn), attempt, context) for turn in turns]
            for turn in turns if judge.turns == "each" else turns[-1:]:
                said = answers[:turn]
                opponents = tuple((name, texts[sample.id][:turn]) for name, texts in others)
                failed = next((answer.error for answer in said if answer.error is not None), None)
                if failed is not None:
                    broken[len(subjects)] = f"the model's answer failed: {failed}"
                texts_so_far = tuple(answer.text or "" for answer in said)
                subjects.append(Subject(sample, attempt, turn, texts_so_far, opponents, title))
    return Shown(subjects, broken)


def _left_to_judge(run: RunSpec, scored: Scored) -> set[tuple[str, int]] | None:
    """What the rule leaves undecided; None where there is no rule before the judges."""
    judging = run.dataset.judge
    if judging is None or judging.after_rule is None:
        return None
    rule = run.dataset.metrics[0].name
    return panels.undecided([s for s in scored.scores if s.metric == rule], judging)


def _found(
    responses: Mapping[tuple[str, int], Response], request_id: str, attempt: int, context: StageContext
) -> Response:
    if (request_id, attempt) not in responses:
        raise IncompleteStage(
            f"the response to {request_id!r} is missing under {context.layout.responses}. Run `llm-eval infer "
            f"{context.layout.run_uri}` for every shard first."
        )
    return responses[request_id, attempt]
