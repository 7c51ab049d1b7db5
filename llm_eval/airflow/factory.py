"""From the catalog to DAGs: what the files in `dags/` call.

One DAG per model and dataset that any suite asks for. Two suites that ask for the same pair share its DAG: it runs
whenever either asks, carries both as tags, and its results count for the first of them by name (leaderboards look at
pairs, so both show them).

A mistake in a catalog file never takes another pair's DAG down, nor its own out of sight. A pair whose model or
dataset is broken keeps its DAG; its runs fail in `plan`, which names the file and the field. All mistakes together are
the import error of `dags/catalog_check.py`. A broken suite is left out: it cannot say which pairs it asks for.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from functools import partial

from airflow.sdk import DAG
from croniter import croniter  # type: ignore[import-untyped]

from llm_eval.airflow import departed
from llm_eval.airflow.checkpoint_graph import build_checkpoint_dag, build_discovery_dag, build_report_dag
from llm_eval.airflow.graph import Evaluation, Judge, build_evaluation_dag, build_leaderboard_dag
from llm_eval.catalog import Catalog
from llm_eval.errors import InvalidSpec, LlmEvalError
from llm_eval.layout import WHOLE, Shard
from llm_eval.remote import ids
from llm_eval.settings import Settings
from llm_eval.specs import ModelSpec, ScriptedBackend, SuiteSpec

logger = logging.getLogger(__name__)

DISCOVERY_SCHEDULE = "*/10 * * * *"


def evaluation_dags(
    only: str | None = None, part: str = str(WHOLE), settings: Settings | None = None
) -> dict[str, DAG]:
    """DAGs by their ids. `only`: this one alone, as a worker asks that runs one task of it. `part`: the DAGs of one
    slice i/n, as each file in `dags/` asks; a DAG's slice depends on its id alone, so that it never changes files.

    Airflow reads a file in one go, some 15 ms for each DAG, and ends a reader that takes longer than a limit: eight
    files stay far below it with thousands of DAGs each, and an empty one costs next to nothing."""
    settings = settings or Settings.from_environment(os.environ)
    catalog, slice_ = Catalog(settings.catalogs), Shard.parse(part)
    asked = pairs(catalog)

    def is_wanted(pair: ids.Pair) -> bool:
        dag_id = ids.evaluation_dag_id(pair)
        return only in (None, dag_id) and zlib.crc32(dag_id.encode()) % slice_.count == slice_.index

    dags = {}
    for pair in filter(is_wanted, (*asked, *_left(settings, asked, only, is_wanted))):
        model, judges = _shape_of(settings, catalog, pair, pair in asked)
        dag = build_evaluation_dag(Evaluation(model, pair.dataset, asked.get(pair, ()), settings.root, judges))
        dags[dag.dag_id] = dag
    return dags


def _left(
    settings: Settings, asked: Collection[ids.Pair], only: str | None, is_wanted: Callable[[ids.Pair], bool]
) -> list[ids.Pair]:
    """Pairs that no suite asks for any more, but whose runs are at work: those of a worker's task surely are."""
    if only is None:
        return departed.at_work(settings, lambda pair: pair not in asked and is_wanted(pair))
    pair = ids.pair_of_dag(only)
    return [] if pair is None or pair in asked else [pair]


def _shape_of(
    settings: Settings, catalog: Catalog, pair: ids.Pair, is_asked: bool
) -> tuple[ModelSpec, tuple[Judge, ...]]:
    """Model and judges of the catalog; as planned, where the catalog has them no longer or nobody asks for the pair."""
    if is_asked and pair.model in catalog.names("models"):
        return _model(catalog, pair.model), _judges(catalog, pair.dataset)
    if (run := departed.planned(settings, pair)) is not None:
        return run.model, tuple(Judge(judge.spec.name, judge.model) for judge in run.judges)
    return _model(catalog, pair.model), _judges(catalog, pair.dataset)


def _judges(catalog: Catalog, reference: str) -> tuple[Judge, ...]:
    """Those of a dataset; none where a file is broken, which the DAG's first task then says."""
    try:
        named = catalog.judge_names(reference)
        return tuple(Judge(name, _model(catalog, catalog.judge(name).model)) for name in named)
    except LlmEvalError as error:
        logger.warning("judges of %s: %s", reference, error)
        return ()


def leaderboard_dags(only: str | None = None, settings: Settings | None = None) -> dict[str, DAG]:
    dags = ((ids.leaderboard_dag_id(suite.name), suite) for suite in _suites(_catalog(settings)))
    return {dag_id: build_leaderboard_dag(suite) for dag_id, suite in dags if only in (None, dag_id)}


def human_dags(only: str | None = None, settings: Settings | None = None) -> dict[str, DAG]:
    dags = [(ids.human_dag_id(suite.name), suite) for suite in _suites(_catalog(settings)) if suite.human]
    if not dags:
        return {}
    from llm_eval.airflow.human_graph import build_human_dag  # brings Airflow's operators that ask people

    return {dag_id: build_human_dag(suite) for dag_id, suite in dags if only in (None, dag_id)}


def checkpoint_dags(only: str | None = None, settings: Settings | None = None) -> dict[str, DAG]:
    """What stands around the checkpoints of the models that have any: see checkpoint_graph.py."""
    settings = settings or Settings.from_environment(os.environ)
    catalog = Catalog(settings.catalogs)
    asked, suites = pairs(catalog), _suites(catalog)
    names = dict.fromkeys(pair.model for pair in asked)
    models = {name: model for name in names if (model := _model(catalog, name)).checkpoints is not None}
    dags: dict[str, Callable[[], DAG]] = {}
    for suite in suites:
        for name in suite.models:
            if name in models:
                dags[ids.report_dag_id(suite.name, name)] = partial(
                    build_report_dag, suite, models[name], settings.root
                )
    for name, model in models.items():
        started = [ids.evaluation_dag_id(pair) for pair in asked if pair.model == name]
        asking = [suite for suite in suites if name in suite.models]
        started += [ids.report_dag_id(suite.name, name) for suite in asking]
        dags[ids.checkpoint_dag_id(name)] = partial(build_checkpoint_dag, model, asking, started)
    if found := [name for name, m in models.items() if m.checkpoints is not None and m.checkpoints.kind != "registry"]:
        cron = os.environ.get("LLM_EVAL_DISCOVERY_SCHEDULE", DISCOVERY_SCHEDULE)
        dags[ids.DISCOVERY_DAG] = partial(build_discovery_dag, found, cron)
    return {dag_id: build() for dag_id, build in dags.items() if only in (None, dag_id)}


def pairs(catalog: Catalog) -> dict[ids.Pair, tuple[SuiteSpec, ...]]:
    """Every pair that a suite asks for, with the suites that do, by name."""
    asking: dict[ids.Pair, list[SuiteSpec]] = defaultdict(list)
    for suite in _suites(catalog):
        for model in suite.models:
            for dataset in suite.datasets:
                asking[ids.Pair(model, dataset)].append(suite)
    return {pair: tuple(suites) for pair, suites in asking.items()}


def check_catalog(settings: Settings | None = None) -> None:
    """Raises InvalidSpec that lists every mistake in what the suites ask for: file, field, and what is allowed."""
    catalog = _catalog(settings)
    asked = pairs(catalog)
    files: list[tuple[Callable[[str], object], Iterable[str]]] = [
        (partial(_suite, catalog), catalog.names("suites")),
        (catalog.model, sorted({pair.model for pair in asked})),
        (catalog.dataset, sorted({pair.dataset for pair in asked})),
    ]
    if mistakes := [mistake for read, names in files for name in names if (mistake := _mistake(read, name))]:
        raise InvalidSpec("\n".join(mistakes))


def _mistake(read: Callable[[str], object], name: str) -> str | None:
    try:
        read(name)
    except LlmEvalError as error:
        return str(error)
    return None


def _catalog(settings: Settings | None) -> Catalog:
    return Catalog((settings or Settings.from_environment(os.environ)).catalogs)


def _suites(catalog: Catalog) -> list[SuiteSpec]:
    suites = []
    for name in catalog.names("suites"):
        try:
            suites.append(_suite(catalog, name))
        except LlmEvalError as error:
            logger.warning("suite left out: %s", error)
    return suites


def _suite(catalog: Catalog, name: str) -> SuiteSpec:
    """The suite. Raises InvalidSpec also for a schedule that Airflow would find out about later, all DAGs at hand."""
    suite = catalog.suite(name)
    for field, schedule in (("schedule", suite.schedule), ("human.schedule", suite.human and suite.human.schedule)):
        if schedule is not None and not croniter.is_valid(schedule):
            raise InvalidSpec(
                f"{catalog.path('suites', name)}: {field}: {schedule!r} is no cron expression, such as '0 2 * * *'"
            )
    return suite


def _model(catalog: Catalog, name: str) -> ModelSpec:
    """The model, or, if its file is broken, one that is just enough for a DAG whose first task says so."""
    try:
        return catalog.model(name)
    except LlmEvalError as error:
        logger.warning("model %s: %s", name, error)
        return ModelSpec(name=name, backend=ScriptedBackend(kind="scripted"), chat=False)
