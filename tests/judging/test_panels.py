"""Several judges together, and a rule before them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from llm_eval.errors import InvalidSpec
from llm_eval.judging.panels import cascade, together, undecided
from llm_eval.specs import DatasetSpec, Judging
from llm_eval.stages.judging import check_panel
from tests.builders import DATASET, PAIR, judge, score

JUDGES = ("x", "y", "z")


def panel(combine, *values, metric="win_rate"):
    """What judges make together of one sample."""
    by_judge = {name: [score(value=v, metric=metric)] for name, v in zip(JUDGES, values, strict=False)}
    found = together(by_judge, Judging(judges=tuple(by_judge), combine=combine))
    return {s.metric: s.value for s in found}


def test_the_mean_is_published_beside_each_judge_s_own_value():
    assert panel("mean", 8.0, 5.0, metric="rating") == {"rating": 6.5, "rating@x": 8.0, "rating@y": 5.0}


def test_one_judge_s_values_are_published_as_they_are():
    assert panel("mean", 8.0, metric="rating") == {"rating": 8.0}


def test_a_sample_that_one_judge_has_no_value_for_has_failed():
    assert panel("mean", 8.0, None, metric="rating")["rating"] is None


@pytest.mark.parametrize(
    ("said", "together"),
    [
        ((1.0, 1.0, 0.0), 1.0),
        ((0.0, 1.0, 0.0), 0.0),
        ((1.0, 0.5, 0.0), 0.5),
        ((1.0, 0.5, 0.5), 0.5),
        ((1.0, 1.0, None), 1.0),  # a majority, whatever the third would have said
        ((1.0, 0.0, None), None),
        ((1.0, 0.5, None), None),
        ((0.5, 0.5, None), 0.5),  # no majority, whatever the third would have said
        ((1.0, None, None), None),
        ((0.75, 0.75, 0.0), 1.0),
    ],
)
def test_a_vote_is_what_more_than_half_of_all_judges_say(said, together):
    assert panel("vote", *said)["win_rate"] == together


def test_a_vote_decides_nothing_that_is_not_won_or_lost():
    assert set(panel("vote", 1.0, 1.0, 0.0, metric="consistency")) == {
        "consistency@x",
        "consistency@y",
        "consistency@z",
    }


def test_an_even_vote_is_refused():
    with pytest.raises(ValidationError, match="odd number of judges"):
        Judging(judges=("x", "y"), combine="vote")


BASELINE = {"kind": "file", "name": "other", "path": "other.jsonl", "id": "{{ id }}", "text": "{{ text }}"}
SMALL = {"verdict": {"kind": "rating", "high": 5}}
LENGTH = {**PAIR, "headline": "length_controlled_win_rate"}


@pytest.mark.parametrize(
    ("judging", "judges", "words"),
    [
        ({}, [{}, SMALL], "judges of different kinds"),
        ({}, [{"verdict": {"kind": "rating"}}, SMALL], "judges whose scales differ"),
        ({"combine": "vote"}, [SMALL, SMALL, SMALL], "vote is for verdicts of right or wrong, or of pairs"),
        (
            {"combine": "vote", "baselines": [BASELINE]},
            [LENGTH] * 3,
            "headline of judge 'grader' is 'length_controlled",
        ),
        ({"after_rule": "wrong"}, [SMALL], "needs a judge of kind correctness"),
        ({}, [PAIR], "needs one of judge.baselines, not 0"),
        ({"baselines": [BASELINE]}, [{}], "baselines are for pairwise and ranking judges"),
        ({}, [{"verdict": {"kind": "ranking"}}], "a ranking judge needs judge.baselines"),
    ],
)
def test_judges_that_cannot_be_counted_together_are_refused(judging, judges, words):
    dataset = DatasetSpec.model_validate({**DATASET, "judge": {"judges": JUDGES[: len(judges)], **judging}})

    with pytest.raises(InvalidSpec, match=words):
        check_panel(dataset, [judge(**each) for each in judges])


RULE = [score("right"), score("wrong", 0.0), score("none", 0.0, status="no_answer"), score("broken", None)]


@pytest.mark.parametrize(("after", "left"), [("no_answer", {"none"}), ("wrong", {"none", "wrong"})])
def test_a_rule_leaves_to_the_judges_what_it_cannot_decide(after, left):
    assert undecided(RULE, Judging(judges=("x",), after_rule=after)) == {(name, 0) for name in left}


def test_a_cascade_has_the_rule_s_value_where_it_decided_and_the_judge_s_elsewhere():
    judged = [score("wrong", 1.0, metric="judged_accuracy"), score("none", None, metric="judged_accuracy")]
    found = {s.sample_id: (s.value, s.status) for s in cascade(RULE, judged)}

    assert found == {
        "right": (1.0, "scored"),
        "wrong": (1.0, "scored"),
        "none": (None, "failed"),
        "broken": (None, "failed"),
    }
