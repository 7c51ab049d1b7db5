"""What a run plans about its judges."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from llm_eval import backends, checkpoints, templates
from llm_eval.catalog import Catalog
from llm_eval.errors import InvalidSpec, UnsupportedRequest
from llm_eval.fingerprint import fingerprint
from llm_eval.judging import panels
from llm_eval.judging.asks import generation_of
from llm_eval.judging.readers import check_readers, get_reader
from llm_eval.judging.scores import headline_of, metrics_of
from llm_eval.metrics import get_metric
from llm_eval.settings import Settings
from llm_eval.specs import (
    Correctness,
    DatasetSpec,
    JudgeSpec,
    ModelSpec,
    Pairwise,
    PlannedBaseline,
    PlannedJudge,
    Ranking,
    RunSpec,
    Scale,
)
from llm_eval.stages import baselines, calibration

logger = logging.getLogger(__name__)

REPLIES_VERSION = 1
VERDICTS_VERSION = 1


def check_judge(judge: JudgeSpec, where: str) -> None:
    """Raises InputError if a template does not compile, or the judge names an unknown reader, option or metric."""
    try:
        for template in (judge.system, judge.template, judge.ask_again or ""):
            templates.check(template)
        generation_of(judge)
    except InvalidSpec as error:
        raise InvalidSpec(f"{where}: {error}") from error
    check_readers(judge.read, where)
    if headline_of(judge) not in (*metrics_of(judge),):
        known = ", ".join(metrics_of(judge))
        raise InvalidSpec(f"{where}: headline: {judge.headline!r} is none of this judge's metrics: {known}")


def check_panel(dataset: DatasetSpec, judges: Sequence[JudgeSpec]) -> None:
    """Raises InvalidSpec for judges that cannot be counted together, or that miss what they compare with."""
    judging = dataset.judge
    if judging is None:
        return
    kinds = {judge.verdict.kind for judge in judges}
    if len(kinds) > 1:
        raise InvalidSpec(f"dataset {dataset.name!r}: judges of different kinds ({', '.join(sorted(kinds))})")
    kind = judges[0].verdict
    if judging.combine == "vote" and not isinstance(kind, Correctness | Pairwise):
        raise InvalidSpec(f"dataset {dataset.name!r}: combine: vote is for verdicts of right or wrong, or of pairs")
    if judging.combine == "vote" and judging.after_rule is None and headline_of(judges[0]) not in panels.VOTED:
        raise InvalidSpec(
            f"dataset {dataset.name!r}: combine: vote decides {' or '.join(sorted(panels.VOTED))}, and the headline of "
            f"judge {judges[0].name!r} is {headline_of(judges[0])!r}"
        )
    if len({(judge.verdict.low, judge.verdict.high) for judge in judges if isinstance(judge.verdict, Scale)}) > 1:
        raise InvalidSpec(f"dataset {dataset.name!r}: judges whose scales differ; a mean over both would mean nothing")
    if judging.after_rule is not None and not isinstance(kind, Correctness):
        raise InvalidSpec(f"dataset {dataset.name!r}: judge.after_rule needs a judge of kind correctness")
    count = len(judging.baselines)
    if isinstance(kind, Pairwise) and count != 1:
        raise InvalidSpec(f"dataset {dataset.name!r}: a pairwise judge needs one of judge.baselines, not {count}")
    if isinstance(kind, Ranking) and count < 1:
        raise InvalidSpec(f"dataset {dataset.name!r}: a ranking judge needs judge.baselines")
    if count and not isinstance(kind, Pairwise | Ranking):
        raise InvalidSpec(f"dataset {dataset.name!r}: judge.baselines are for pairwise and ranking judges")


def planned_judges(
    catalog: Catalog, settings: Settings, dataset: DatasetSpec, overrides: Mapping[str, object], judged: ModelSpec
) -> tuple[PlannedJudge, ...]:
    """Raises InputError for a judge that cannot work; warns of a model that judges itself."""
    if dataset.judge is None:
        if overrides:
            raise InvalidSpec(f"dataset {dataset.name!r} has no judge to override")
        return ()
    specs = [catalog.judge(name, overrides) for name in dataset.judge.judges]
    for spec in specs:
        check_judge(spec, str(catalog.path("judges", spec.name)))
    check_panel(dataset, specs)
    return tuple(_planned(spec, catalog, settings, dataset, judged) for spec in specs)


def _planned(
    spec: JudgeSpec, catalog: Catalog, settings: Settings, dataset: DatasetSpec, judged: ModelSpec
) -> PlannedJudge:
    model = catalog.model(spec.model)
    generation = generation_of(spec)
    asked = dataset.model_copy(update={"generation": generation})
    try:
        backends.check_specs(model, asked)
        backend = backends.backend_of(model)
        checkpoint = checkpoints.choose(model, None, settings)
        backend.check(model, checkpoint, asked, settings)
    except UnsupportedRequest as error:
        raise UnsupportedRequest(f"judge {spec.name!r}: {error}") from error
    if model.backend == judged.backend:
        logger.warning("judge %s: model %s judges its own answers; such scores are biased", spec.name, model.name)
    weights = backend.identity(model, checkpoint, dataset.name, settings)
    decoding = generation.model_dump(mode="json")
    replies = fingerprint(REPLIES_VERSION, model.backend.kind, weights, model.context_tokens, model.chat, decoding)
    labels = calibration.pin(spec, settings)
    return PlannedJudge(
        spec=spec, model=model, checkpoint=checkpoint, weights=weights, replies=replies, calibration_sha256=labels
    )


def planned_baselines(dataset: DatasetSpec, reference: str, settings: Settings) -> tuple[PlannedBaseline, ...]:
    """Raises InputError for a baseline that is not there, or two of one name."""
    if dataset.judge is None:
        return ()
    found = tuple(baselines.pin(spec, reference, settings) for spec in dataset.judge.baselines)
    if len({each.name for each in found}) < len(found):
        raise InvalidSpec(f"dataset {dataset.name!r}: two of judge.baselines are called the same")
    return found


def refuse_own_answers(planned: Sequence[PlannedBaseline], responses: str) -> None:
    """Raises InvalidSpec if a baseline is what the run itself will have answered."""
    for baseline in planned:
        if baseline.run_uri is not None and baselines.identity(baseline) == responses:
            raise InvalidSpec(
                f"baseline {baseline.name!r}: these are the answers of the very model that is judged. Compare with "
                "another checkpoint or model."
            )


def identity(dataset: DatasetSpec, judges: Sequence[PlannedJudge], planned: Sequence[PlannedBaseline]) -> str | None:
    """Of everything that decides the verdicts apart from the responses; None where nothing is judged."""
    if dataset.judge is None:
        return None
    described = [
        (
            judge.spec.model_dump(mode="json", exclude={"description", "reference", "model"}),
            judge.replies,
            judge.calibration_sha256,
            [get_reader(call.name).version for call in judge.spec.read],
            [get_metric(name).version for name in metrics_of(judge.spec)],
        )
        for judge in judges
    ]
    counted = dataset.judge.model_dump(mode="json", include={"combine", "after_rule"})
    return fingerprint(VERDICTS_VERSION, described, counted, [baselines.identity(each) for each in planned])


def headline_metric(run: RunSpec) -> str:
    """The metric that stands for the run."""
    if run.dataset.judge is None:
        return run.dataset.metrics[0].name
    return panels.CASCADE if run.dataset.judge.after_rule else headline_of(run.judges[0].spec)
