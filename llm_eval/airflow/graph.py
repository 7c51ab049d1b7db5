"""The shape of the DAGs. Pure: from what the catalog says to DAG objects, nothing read, nothing written.

plan → fetch → validate, render → infer × shards → score → publish  ⇒  leaderboard of every suite with the pair
                                           score → judge × judges × shards → verdict → publish, where answers are judged
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, chain

from llm_eval.airflow.checkpoint_graph import checkpoint_schedule
from llm_eval.airflow.deployment import GPU_QUEUE
from llm_eval.airflow.failures import RETRIES
from llm_eval.airflow.notify import failure_notice, late_alerts
from llm_eval.airflow.operators import (
    RUN_URI_KEY,
    JudgeOperator,
    PlanOperator,
    PublishOperator,
    ReportOperator,
    StageOperator,
)
from llm_eval.airflow.params import dag_params
from llm_eval.airflow.timetables import cron_timetable
from llm_eval.layout import Shard
from llm_eval.remote import ids
from llm_eval.specs import ModelSpec, SuiteSpec

API_POOL, CPU_POOL, GPU_POOL = "api", "cpu", "gpu"
LIGHT_BACKENDS = frozenset({"openai", "replay", "scripted"})
"""Backends without weights: they answer in the task's own process."""
API_BACKENDS = frozenset({"openai"})
MAX_ACTIVE_RUNS = 4  # of one DAG: a backfill over many checkpoints leaves room for others; GPUs are bound by their pool


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge of the pair's dataset, and the model behind it."""

    name: str
    model: ModelSpec


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one DAG evaluates, and the suites that ask for it, in the order of their names."""

    model: ModelSpec
    dataset: str
    suites: tuple[SuiteSpec, ...]
    root: str
    """The address under which the registry of the model's checkpoints lies."""
    judges: tuple[Judge, ...] = ()

    @property
    def pair(self) -> ids.Pair:
        return ids.Pair(self.model.name, self.dataset)


def build_evaluation_dag(evaluation: Evaluation) -> DAG:
    """`eval__{model}__{dataset}`: one run evaluates one checkpoint of the model on the dataset."""
    pair, suites = evaluation.pair, evaluation.suites
    facts = (("model", pair.model), ("dataset", pair.dataset))
    with DAG(
        ids.evaluation_dag_id(pair),
        description=f"{pair.model} on {pair.dataset}",
        schedule=schedule_of(evaluation),
        catchup=False,
        max_active_runs=MAX_ACTIVE_RUNS,
        tags={"llm-eval", f"model:{pair.model}", f"dataset:{pair.dataset}", *(f"suite:{s.name}" for s in suites)},
        default_args=RETRIES,
        doc_md=evaluation.model.description or None,
        on_failure_callback=failure_notice(suites, f"{pair.model} on {pair.dataset} failed", facts),
        deadline=late_alerts(suites, f"{pair.model} on {pair.dataset} is late", facts),
    ) as dag:
        named = [judge.name for judge in evaluation.judges]
        plan = PlanOperator(task_id="plan", pair=pair, suite=suites[0].name if suites else None, judges=named)
        run_uri = plan.output[RUN_URI_KEY]
        fetch = StageOperator(task_id="fetch", stage="fetch", run_uri=run_uri)
        # Side by side: importing Great Expectations takes validate longer than all the rest, and infer waits for both.
        before = [StageOperator(task_id=s, stage=s, run_uri=run_uri) for s in ("validate", "render")]
        infer = _asking(evaluation.model, run_uri, plan.output)
        score = StageOperator(task_id="score", stage="score", run_uri=run_uri)
        boards = [ids.leaderboard_dag_id(suite.name) for suite in suites]
        # Named ahead, not made on publishing: two first results at once would both make it, and one task fail for it.
        outlets = [Asset(ids.result_asset_name(pair), ids.result_asset_uri(pair)), *map(suite_results, suites)]
        publish = PublishOperator(task_id="publish", run_uri=run_uri, leaderboards=boards, outlets=outlets)
        chain(plan, fetch, before, infer, score)
        if evaluation.judges:
            verdict = StageOperator(task_id="verdict", stage="verdict", run_uri=run_uri)
            chain(score, [_judging(judge, run_uri) for judge in evaluation.judges], verdict, publish)
        else:
            chain(score, publish)
    # Only now: tasks made after it would each carry a copy, and reading a DAG would take Airflow five times as long.
    dag.params = dag_params()
    return dag


def suite_results(suite: SuiteSpec) -> Asset:
    """All results of a suite: what its leaderboard follows, however many pairs there are."""
    return Asset(ids.suite_asset_name(suite.name), ids.suite_asset_uri(suite.name))


def _judging(judge: Judge, run_uri: Any) -> Any:
    count = judge.model.resources.shards
    return _asking(judge.model, run_uri, [str(Shard(index, count)) for index in range(count)], judge.name)


def _asking(model: ModelSpec, run_uri: Any, shards: Any, judge: str | None = None) -> Any:
    """The mapped task in which a model answers, the evaluated one (infer) or a judge's: in a pod, in a child process,
    or, for light backends, in the task itself."""
    needs_gpu = model.run_on == "kubernetes" or (model.resources.gpus > 0 and model.backend.kind not in LIGHT_BACKENDS)
    own_process = model.backend.kind not in LIGHT_BACKENDS
    common: dict[str, Any] = {
        "task_id": "infer" if judge is None else ids.judge_task_id(judge),
        "stage": "infer" if judge is None else "judge",
        "run_uri": run_uri,
        "map_index_template": "{{ task.shard }}",
        **({} if judge is None else {"judge": judge}),
    }
    if needs_gpu or own_process:
        common["pool"] = GPU_POOL if needs_gpu else CPU_POOL
        common["pool_slots"] = max(model.resources.gpus, 1)
    elif model.backend.kind in API_BACKENDS:
        common["pool"] = API_POOL
    if model.run_on == "kubernetes":
        from llm_eval.airflow.pods import JudgePodOperator, StagePodOperator  # 1.6 s: only where it is needed

        needs = model.resources.model_dump(mode="json")
        pod = StagePodOperator if judge is None else JudgePodOperator
        return pod.partial(needs=needs, **common).expand(shard=shards)
    queue = {"queue": GPU_QUEUE} if needs_gpu else {}  # of Celery's workers; other executors have none
    operator = StageOperator if judge is None else JudgeOperator
    return operator.partial(own_process=own_process, **queue, **common).expand(shard=shards)


def schedule_of(evaluation: Evaluation) -> Any:
    """Every time that any of the suites asks for; None if none has a schedule. UTC.

    Of a model with checkpoints always a timetable, as backfills and runs for one checkpoint need it too.
    """
    suites = evaluation.suites
    if evaluation.model.checkpoints is not None:
        return checkpoint_schedule(evaluation.root, evaluation.model.name, suites)
    crons = list(dict.fromkeys(s.schedule for s in suites if s.schedule))
    return cron_timetable(tuple(crons)) if crons else None


def build_leaderboard_dag(suite: SuiteSpec) -> DAG:
    """`leaderboard__{suite}`: rebuilt whenever results are published; several at once make one rebuild."""
    facts = (("suite", suite.name),)
    with DAG(
        ids.leaderboard_dag_id(suite.name),
        description=suite.description or f"Leaderboard of {suite.name}",
        schedule=[suite_results(suite)],
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=1),
        tags={"llm-eval", f"suite:{suite.name}", "leaderboard"},
        default_args=RETRIES,
        on_failure_callback=failure_notice([suite], f"the leaderboard of {suite.name} failed", facts),
    ) as dag:
        ReportOperator(task_id="report", suite=suite.name)
    return dag
