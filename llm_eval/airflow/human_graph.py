"""The DAG in which a suite's people are asked: pick → ask × questions → collect."""

from __future__ import annotations

from airflow.sdk import DAG, Param, chain

from llm_eval.airflow.failures import RETRIES
from llm_eval.airflow.graph import suite_results
from llm_eval.airflow.humans import AskOperator, CollectOperator, PickOperator
from llm_eval.airflow.notify import failure_notice
from llm_eval.airflow.params import DRAFT
from llm_eval.airflow.timetables import cron_timetable
from llm_eval.remote import ids
from llm_eval.specs import SuiteSpec

ABOUT = """Each question waits under *Required actions* until somebody answers it or its time is over; an item that
nobody answered is counted, never scored. What models wrote is shown as they wrote it, and cannot act."""


def build_human_dag(suite: SuiteSpec) -> DAG:
    """`human__{suite}`: one run is one round."""
    human = suite.human
    assert human is not None  # of a suite that asks people
    facts = (("suite", suite.name),)
    with DAG(
        ids.human_dag_id(suite.name),
        description=f"People are asked about the answers of {suite.name}",
        schedule=cron_timetable((human.schedule,)) if human.schedule else None,
        catchup=False,
        tags={"llm-eval", "human", f"suite:{suite.name}"},
        default_args=RETRIES,
        doc_md=ABOUT,
        on_failure_callback=failure_notice([suite], f"the questions to people of {suite.name} failed", facts),
    ) as dag:
        pick = PickOperator(task_id="pick", suite=suite.name)
        ask = AskOperator.partial(
            task_id="ask",
            suite=suite.name,
            human=human.model_dump(mode="json"),
            map_index_template="{{ task.question }}",
            params={
                "comment": Param(None, type=["null", "string"], title="Comment", description="If there is more to say.")
            },
        ).expand(question=pick.output)
        # Its leaderboard has lines of what people said.
        chain(ask, CollectOperator(task_id="collect", suite=suite.name, outlets=[suite_results(suite)]))
    # Only now: see graph.py.
    seed = Param(
        None,
        type=["null", "string"],
        title="Seed",
        description="Decides which samples are picked and how they are shuffled. Absent: drawn.",
        **{"$schema": DRAFT},
    )
    dag.params = {"seed": seed}
    return dag
