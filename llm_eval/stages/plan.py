"""plan: a model, a dataset and parameters become `run.json`, which says all that the other stages need to know.

Everything that can be refused without loading a model is refused here.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import llm_eval
from llm_eval import backends, checkpoints, expectations, extract, layout, metrics, sources, storage, templates
from llm_eval.catalog import Catalog, parse, split_reference
from llm_eval.errors import InvalidSpec, MissingWeights, NotThere, StorageError, UnsupportedRequest
from llm_eval.fingerprint import fingerprint, slug
from llm_eval.settings import Settings
from llm_eval.specs import DatasetSpec, Fingerprints, ModelSpec, ResolvedSource, RunParams, RunSpec
from llm_eval.stages import judging

logger = logging.getLogger(__name__)

# Part of a fingerprint: raise one when the stage would write other rows from the same input.
SAMPLES_VERSION = 1
REQUESTS_VERSION = 1
RESPONSES_VERSION = 1
SCORES_VERSION = 1


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants evaluated. `run_id` absent: `new_run_id`."""

    model: str
    dataset: str
    params: RunParams = field(default_factory=RunParams)
    suite: str | None = None
    run_id: str | None = None
    logical_date: str | None = None


def plan(catalog: Catalog, settings: Settings, wish: Wish, now: datetime) -> RunSpec:
    """The run that `wish` asks for, written to its run.json. Raises InputError for anything that cannot work."""
    with suppress(MissingWeights):  # what is registered may do; if not, the choice says what is missing
        checkpoints.discover(catalog.model(wish.model), settings, now)
    run = resolve(catalog, settings, wish, now)
    address = layout.join(layout.Layout(settings.root, run).run_uri, "run.json")
    planned = run.model_dump(mode="json")
    if _is_another(address, planned):
        # Of a run that a scheduler clears and plans anew: what it has published is of what it was before.
        storage.delete(layout.join(layout.Layout(settings.root, run).run_uri, layout.PUBLISHED))
    storage.write_json(address, planned)
    logger.info("plan: %s", address)
    return run


def _is_another(address: str, planned: dict[str, object]) -> bool:
    """Whether something else was planned under the same id."""
    try:
        before = storage.read_json(address)
    except NotThere:
        return False
    except StorageError:  # torn: nobody knows
        return True
    return {**before, "planned_at": None} != {**planned, "planned_at": None}


def resolve(catalog: Catalog, settings: Settings, wish: Wish, now: datetime) -> RunSpec:
    """The run that `wish` asks for, nothing written."""
    overrides = _by_kind(wish.params)
    model = catalog.model(wish.model, overrides["model"])
    dataset = catalog.dataset(wish.dataset, overrides["dataset"])
    check_dataset(dataset, str(catalog.path("datasets", dataset.name)))
    backends.check_specs(model, dataset)
    if dataset.fields.follow_ups and not model.chat:
        raise UnsupportedRequest(
            f"model {model.name!r}: dataset {dataset.name!r} holds conversations of several turns, and the model takes "
            "plain text (chat: false)"
        )
    checkpoint = checkpoints.choose(model, wish.params.checkpoint, settings)
    backend = backends.backend_of(model)
    backend.check(model, checkpoint, dataset, settings)
    weights = backend.identity(model, checkpoint, dataset.name, settings)
    source = sources.resolve(dataset, settings)
    judges = judging.planned_judges(catalog, settings, dataset, overrides["judge"], model)
    baselines = judging.planned_baselines(dataset, wish.dataset, settings)
    prints = fingerprints(model, dataset, source, weights, wish.params)
    judged = judging.identity(dataset, judges, baselines)
    if judged is not None:
        judging.refuse_own_answers(baselines, prints.responses)
        prints = prints.model_copy(update={"verdicts": fingerprint(prints.scores, judged)})
    return RunSpec(
        run_id=slug(wish.run_id or new_run_id(now)),
        suite=wish.suite,
        model=model,
        checkpoint=checkpoint,
        dataset=dataset,
        variant=split_reference(wish.dataset)[1],
        judges=judges,
        baselines=baselines,
        params=wish.params,
        source=source,
        weights=weights,
        fingerprints=prints,
        dataset_version=fingerprint(prints.samples, *_asked(dataset), *_scored(dataset), judged)[:8],
        logical_date=wish.logical_date,
        planned_at=now.isoformat(timespec="seconds"),
        code_version=llm_eval.__version__,
    )


def new_run_id(now: datetime) -> str:
    """Sorts by time. The rest is drawn: runs that several machines start at the same moment need ids of their own."""
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def _by_kind(params: RunParams) -> dict[str, dict[str, object]]:
    split: dict[str, dict[str, object]] = {"dataset": {}, "model": {}, "judge": {}}
    for key, value in params.overrides.items():
        kind, _, rest = key.partition(".")
        if kind not in split or not rest:
            raise InvalidSpec(
                f"override {key!r}: a key begins with 'dataset.', 'model.' or 'judge.', such as "
                "dataset.generation.max_tokens"
            )
        split[kind][rest] = value
    return split


def check_dataset(dataset: DatasetSpec, where: str) -> None:
    """Raises InputError if a template does not compile or names an unknown metric, extractor, expectation or option."""
    prompt, fields = dataset.prompt, dataset.fields
    for source in (
        prompt.template,
        prompt.answer,
        prompt.continuation,
        prompt.header,
        prompt.system or "",
        fields.input,
        *((fields.follow_ups,) if isinstance(fields.follow_ups, str) else fields.follow_ups),
    ):
        templates.check(source)
    for call in dataset.metrics:
        metric = metrics.get_metric(call.name, where)
        if metric.is_judged:
            raise InvalidSpec(f"{where}: metric {call.name!r} comes from a judge: name the judge under `judge` instead")
        metric.check_options(call.options, where)
        if prompt.kind not in metric.kinds:
            raise InvalidSpec(
                f"{where}: metric {call.name!r} measures requests of kind {', '.join(sorted(metric.kinds))}, "
                f"but the prompt's kind is {prompt.kind!r}"
            )
    extract.check_chain(dataset.extract, where)
    expectations.check_names(dataset)


def _asked(dataset: DatasetSpec) -> tuple[object, ...]:
    """What decides the responses apart from samples and weights."""
    return dataset.prompt.model_dump(mode="json"), dataset.generation.model_dump(mode="json")


def _scored(dataset: DatasetSpec) -> tuple[object, ...]:
    """What decides the scores apart from the responses: calls with their options and their code's version."""
    return (
        SCORES_VERSION,
        [(c.name, c.options, extract.get_extractor(c.name).version) for c in dataset.extract],
        [(c.name, c.options, metrics.get_metric(c.name).version) for c in dataset.metrics],
    )


def fingerprints(
    model: ModelSpec, dataset: DatasetSpec, source: ResolvedSource, weights: str, params: RunParams
) -> Fingerprints:
    """The chain: each stage's identity covers the one before it and whatever else decides its rows. Verdicts come last.

    Not in it: batch size, devices, shards, pools, names of models. Editing a metric changes only the last link.
    """
    chosen = dataset.sources[source.index]
    samples = fingerprint(
        SAMPLES_VERSION,
        chosen.model_dump(mode="json", exclude={"path", "few_shot_path", "revision"}),
        source.revision,
        [file.sha256 for file in source.files],
        (chosen.fields or dataset.fields).model_dump(mode="json"),
        dataset.subsets,
        dataset.samples_per_subset,
    )
    asked, generation = _asked(dataset)
    requests = fingerprint(REQUESTS_VERSION, samples, asked, model.chat, params.limit)
    # A likelihood does not depend on decoding options.
    decoding = generation if dataset.prompt.kind == "generate" else None
    responses = fingerprint(RESPONSES_VERSION, requests, model.backend.kind, weights, model.context_tokens, decoding)
    return Fingerprints(
        samples=samples, requests=requests, responses=responses, scores=fingerprint(responses, *_scored(dataset))
    )


def parse_params(values: dict[str, object], where: str) -> RunParams:
    """Run parameters as the trigger form, REST or a command line gives them. Raises InvalidSpec."""
    return parse(RunParams, values, where)
