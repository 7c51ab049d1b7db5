from llm_eval.remote.ids import (
    Pair,
    evaluation_dag_id,
    leaderboard_dag_id,
    pair_of_dag,
    run_id_of,
)

PAIR = Pair("llama-3.1-8b", "ceval_ppl")


def test_a_dag_id_gives_its_pair_back():
    assert evaluation_dag_id(PAIR) == "eval__llama-3.1-8b__ceval_ppl"
    assert pair_of_dag(evaluation_dag_id(PAIR)) == PAIR


def test_other_dags_are_about_no_pair():
    assert pair_of_dag(leaderboard_dag_id("nightly")) is None


def test_a_retried_plan_gets_the_same_run_id_and_another_dag_run_another():
    first = run_id_of("manual__2026-01-01T00:00:00+00:00", PAIR)

    assert first == run_id_of("manual__2026-01-01T00:00:00+00:00", PAIR)
    assert first != run_id_of("manual__2026-01-01T00:00:01+00:00", PAIR)


def test_variants_of_one_dataset_on_one_schedule_have_different_run_ids():
    # Their results lie in one folder, results/…/dataset=ceval/, one file per run id.
    tick = "scheduled__2026-01-01T02:00:00+00:00"
    ids = {run_id_of(tick, Pair("m", reference)) for reference in ("ceval", "ceval_ppl", "ceval_zero-shot")}

    assert len(ids) == 3


def test_a_run_id_is_one_safe_path_segment():
    assert "/" not in run_id_of("../../etc/passwd", PAIR)
    assert not run_id_of("..", PAIR).startswith(".")
