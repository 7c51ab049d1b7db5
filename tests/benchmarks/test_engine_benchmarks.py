import hashlib
import statistics
from pathlib import Path

import agreement
import exams
import jobs
import pytest
from rounds import OURS, Cost, alternate, table

from llm_eval.catalog import Catalog
from llm_eval.check import mistakes
from llm_eval.settings import HOME


def test_questions_are_the_same_on_every_machine():
    drawn = (exams.mmlu(2, 3), exams.ceval(2), exams.hellaswag(2, 2), exams.piqa(2, 2), exams.gsm8k(3))
    assert hashlib.sha256(repr(drawn).encode()).hexdigest()[:16] == "d601f9b5325338d6"


@pytest.mark.parametrize("name", jobs.JOBS)
def test_every_job_asks_as_many_different_questions_as_it_says(name):
    asks = jobs.JOBS[name].asks(jobs.Size(subjects=2, questions=3, shots=2))
    assert len(set(asks)) == len(asks) == (6 if name in ("letters", "cloze") else 3)
    assert {len(ask.shots) for ask in asks} == {2}


def test_unshared_prompts_have_no_example_in_common():
    asks = jobs.JOBS["unshared"].asks(jobs.Size(subjects=1, questions=4, shots=3))
    assert len({shot for ask in asks for shot in ask.shots}) == 12


def test_the_benchmarks_own_catalog_has_no_mistakes():
    catalog = Catalog((HOME / "include" / "catalog", HOME / "benchmarks" / "engine" / "catalog"))
    assert {"bench-mmlu", "bench-gsm8k", "bench-ceval"} <= set(catalog.names("datasets"))
    assert mistakes(catalog) == []


def test_choices_agree_when_the_same_one_is_best_and_values_are_close():
    ours = [[-1.0, -2.0], [-3.0, -2.5]]
    assert agreement.of_choices(ours, [[-1.00001, -2.0], [-3.0, -2.5]]).exact
    assert not agreement.of_choices(ours, [[-1.001, -2.0], [-3.0, -2.5]]).exact
    assert not agreement.of_choices([[-1.0, -1.00001]], [[-1.00001, -1.0]]).exact


def test_texts_agree_when_all_are_identical():
    assert agreement.of_texts(["a", "b"], ["a", "b"]).exact
    assert agreement.of_texts(["a", "b"], ["a", "c"]).lines == ["texts: 1 of 2 identical, 2 different ones"]


def test_ratios_are_taken_round_by_round_in_alternating_order():
    order = []

    def side(name, seconds):
        costs = iter(seconds)
        return lambda: order.append(name) or Cost(next(costs), 1.0, 100.0)

    costs = alternate({OURS: side(OURS, [1.0, 2.0, 1.0]), "peer": side("peer", [5.0, 8.0, 7.0])}, rounds=3)
    assert order == [OURS, "peer", "peer", OURS, OURS, "peer"]
    assert f"cpu x{statistics.median([5, 4, 7]):.2f} (rounds: 5.00, 4.00, 7.00)" in table(costs)[-1]


def test_the_harness_is_asked_for_every_subject_that_is_written():
    import yaml

    group = yaml.safe_load((Path(jobs.__file__).parent / "tasks" / "bench_mmlu.yaml").read_text())
    dataset = yaml.safe_load((Path(jobs.__file__).parent / "catalog" / "datasets" / "bench-mmlu.yaml").read_text())
    subjects = [exam.subject for exam in exams.mmlu(subjects=4, questions=1)]
    assert dataset["subsets"] == subjects
    assert group["task"] == [f"bench_mmlu_{subject}" for subject in subjects]
