"""Whether a judge may judge: it is asked about answers that people have labelled, and has to agree with them.

The labelled answers go the way of all others: the same prompt, the same readers, the same replies on disk. The judge
stage looks before it asks about the run's own answers, and verdict looks again, so that no run counts without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_eval import templates
from llm_eval.agreement.kappa import cohen_kappa, percent_agreement
from llm_eval.errors import BackendLost, InvalidData, MissingSource, UntrustedJudge
from llm_eval.fingerprint import sha256_hex
from llm_eval.judging.subjects import Subject
from llm_eval.records import Judgement, Sample
from llm_eval.settings import Settings, find
from llm_eval.sources.formats import parse
from llm_eval.specs import Calibration, JudgeSpec, PlannedJudge
from llm_eval.stages import Counts

logger = logging.getLogger(__name__)

LABELS = ("correct", "incorrect", "not_attempted")
JudgeThese = Callable[[Sequence[Subject]], Sequence[Judgement]]


def pin(judge: JudgeSpec, settings: Settings) -> str | None:
    """The hash of the labelled answers; None for a judge without any. Raises InputError for a file that cannot do."""
    if judge.calibration is None:
        return None
    data = _bytes(judge, judge.calibration, settings)
    _labelled(judge.calibration, data)
    return sha256_hex(data)


def check(judge: PlannedJudge, settings: Settings, judge_these: JudgeThese) -> Counts:
    """Figures of the judge's agreement with people, for a stage's counts; {} for a judge without calibration.

    A verdict that cannot be read agrees with nobody. Raises UntrustedJudge below the threshold, InvalidData for
    labelled answers that changed since the run was planned, BackendLost where the judge was not reached.
    """
    spec = judge.spec.calibration
    if spec is None:
        return {}
    data = _bytes(judge.spec, spec, settings)
    if sha256_hex(data) != judge.calibration_sha256:
        raise InvalidData(f"{spec.path}: changed since the run was planned. Plan a new run, or put the file back.")
    labelled = _labelled(spec, data)
    said = [_said(each, judge.spec.name) for each in judge_these([subject for subject, _ in labelled])]
    people = [label for _, label in labelled]
    agreement, kappa = percent_agreement(said, people), cohen_kappa(said, people)
    name, least = ("agreement", spec.min_agreement) if spec.min_agreement is not None else ("kappa", spec.min_kappa)
    measured = agreement if name == "agreement" else kappa
    reached = measured.value if spec.by == "value" else measured.ci_low
    assert least is not None  # the spec asks for one of both
    shown = "undefined" if reached is None else f"{reached:.3f}"
    if reached is None or reached < least:
        raise UntrustedJudge(
            f"judge {judge.spec.name!r}: {name} with the {len(people)} labels of {spec.path} is {shown} "
            f"({spec.by.replace('_', ' ')}), and calibration.min_{name} asks for {least:g}. {measured.note} "
            "Its verdicts do not count. Mend its prompt or take another model: `calibration` is in the judge's YAML."
        )
    logger.info("judge %s: %s with %d labels is %s, %g is asked for", judge.spec.name, name, len(people), shown, least)
    figures = {"labels": len(people), "agreement": agreement.value, "kappa": kappa.value}
    figures["unreadable"] = said.count("unreadable")
    return {f"calibration_{key}": round(value, 4) for key, value in figures.items() if value is not None}


def _said(judgement: Judgement, judge: str) -> str:
    if judgement.status == "failed" and judgement.reply is None:
        raise BackendLost(f"judge {judge!r}: calibration {judgement.sample_id}: {judgement.explanation}")
    if judgement.status == "failed":
        return "unreadable"
    return judgement.verdict or "incorrect"  # an empty answer, which no judge is shown


def _labelled(spec: Calibration, data: bytes) -> list[tuple[Subject, str]]:
    """Raises InvalidData for a label that is none of LABELS, and for an answer labelled twice."""
    found: dict[tuple[str, str], tuple[Subject, str]] = {}
    for place, row in enumerate(parse(spec.path, data), start=1):
        names: Mapping[str, Any] = {**row, "columns": row}
        question, answer, reference, label = (
            templates.render(source, names) for source in (spec.input, spec.answer, spec.reference, spec.label)
        )
        if label.strip().lower() not in LABELS:
            raise InvalidData(f"{spec.path}, row {place}: label {label!r} is none of {', '.join(LABELS)}")
        if (question, answer) in found:
            raise InvalidData(f"{spec.path}, row {place}: this answer to {question[:60]!r} is labelled twice")
        sample = Sample(id=f"row {place}", subset="", input=question, targets=(reference,) if reference else ())
        found[question, answer] = (Subject(sample, 0, 1, (answer,)), label.strip().lower())
    return list(found.values())


def _bytes(judge: JudgeSpec, spec: Calibration, settings: Settings) -> bytes:
    place = find(spec.path, settings.datasets)
    if place is None or not Path(place).is_file():
        looked = ", ".join(map(str, settings.datasets)) or "nowhere: LLM_EVAL_DATASETS is not set"
        raise MissingSource(f"judge {judge.name!r}: calibration: there is no file {spec.path!r}. Looked in {looked}.")
    return Path(place).read_bytes()
