"""Judged runs from end to end, with a judge behind a real server: what is asked, what is counted, what is refused."""

from __future__ import annotations

import logging
import re
from collections import Counter
from itertools import count

import pytest

from llm_eval.check import mistakes
from llm_eval.errors import BackendLost, EmptyScores, StillWaiting, TooManyFailures, UnknownName
from llm_eval.layout import Shard
from llm_eval.listing import listing
from llm_eval.stages import run_stage
from tests.backends.api_server import refused, said, serving
from tests.backends.batch_api import BatchApi, serving_batches
from tests.builders import PAIR, RATING

FIRST = ("fetch", "validate", "render", "infer", "score")


def grade(prompt):
    """CORRECT where the answer is the reference's text."""
    answer, reference = (re.search(rf"{name}: (.*)", prompt)[1] for name in ("Answer", "Reference"))
    return "CORRECT" if answer == reference else "INCORRECT"


def test_a_judge_s_verdicts_are_published_with_their_counts(court):
    room = court("right 0", "wrong", "right 2", "")
    with room.judged(grade) as judge:
        rows = room.run()

    headline = rows["judged_accuracy"]
    assert headline.headline
    assert (headline.value, headline.samples, headline.scored, headline.no_answer, headline.failed) == (0.5, 4, 3, 1, 0)
    assert (headline.judge, headline.bound_low, headline.bound_high) == ("grader", 0.5, 0.5)
    assert len(judge.asked) == 3  # nothing is asked about an empty answer


def test_an_unreadable_verdict_is_asked_again_once_with_the_reason_and_then_has_failed(court):
    room = court("right 0", "wrong", "right 2", "wrong")
    room.dataset(max_failed_fraction=0.25)

    def say(prompt):
        if "Question 0" in prompt:
            return "Hard to say, really."
        if "Question 1" in prompt:
            return "Let me think."
        if "could not be read" in prompt:
            return "INCORRECT" if "Let me" in prompt else "I cannot."
        return grade(prompt)

    with room.judged(say) as judge:
        rows = room.run()

    more = [body["messages"] for body in judge.asked if len(body["messages"]) > 1]
    assert {m[1]["content"] for m in more} == {"Hard to say, really.", "Let me think."}
    told = {m[1]["content"]: m[2]["content"] for m in more}
    assert "'Let me think' is none of CORRECT, INCORRECT" in told["Let me think."]
    assert len(judge.asked) == 6
    found = rows["judged_accuracy"]
    assert (found.samples, found.scored, found.failed) == (4, 3, 1)


def test_bounds_hold_whatever_the_failed_would_have_been(court):
    """Of four: one right, two wrong, one unreadable. 1/3 of those with a verdict; between 1/4 and 2/4 of all."""
    room = court("right 0", "wrong", "wrong", "wrong")
    room.dataset(max_failed_fraction=0.25)
    with room.judged(lambda p: "no idea" if "Question 3" in p or "could not" in p else grade(p)):
        found = room.run()["judged_accuracy"]

    assert (found.value, found.bound_low, found.bound_high) == (pytest.approx(1 / 3), 0.25, 0.5)


def test_more_failures_than_allowed_publish_nothing(court):
    room = court("right 0", "wrong", "wrong", "wrong")
    words = r"1 of 4 samples failed.*cannot be read.*'no idea' is none of"
    with (
        room.judged(lambda p: "no idea" if "Question 3" in p or "could not" in p else grade(p)),
        pytest.raises(TooManyFailures, match=words),
    ):
        room.run()


def test_a_judge_that_is_down_is_lost_and_can_be_tried_again(court):
    room = court("right 0", "wrong")
    with room.judged(lambda prompt: refused(500, "out of order")) as judge:
        run, address = room.planned()
        room.stages(address, *FIRST)
        with pytest.raises(BackendLost):
            room.stages(address, "judge")
        judge.answer = lambda body, _: said("CORRECT")
        room.stages(address, "judge", "verdict", "publish")

    assert [each.value for each in room.judgements(run)] == [1.0, 1.0]


def test_calls_that_failed_are_counted_and_asked_again_without_the_others(court):
    room = court("right 0", "wrong", "right 2")
    filtered = refused(400, "content filter", code="content_filter")
    with room.judged(lambda p: filtered if "Question 1" in p else grade(p)) as judge:
        _, address = room.planned()
        room.stages(address, *FIRST)
        counts = room.stages(address, "judge")["judge"]
        assert (counts["judgements"], counts["asked"], counts["failed"]) == (3, 3, 1)
        with pytest.raises(TooManyFailures, match="the judge was not reached"):
            room.stages(address, "verdict")
        before = len(judge.asked)
        filtered = "INCORRECT"
        counts = room.stages(address, "judge", "verdict")["judge"]

    assert (counts["asked"], counts["reused"], counts["failed"]) == (1, 2, 0)
    assert len(judge.asked) == before + 1


def test_what_was_asked_once_is_never_asked_again(court):
    room = court(*(f"right {i}" for i in range(8)))
    with room.judged(grade) as judge:
        asked = []

        def run(model="canned", **params):
            before = len(judge.asked)
            rows = room.run(model, **params)
            asked.append(len(judge.asked) - before)
            return rows

        run(limit=3)
        run(limit=6)
        run()
        room.model("twin", [f"right {i}" for i in range(7)] + ["new"])
        run("twin")
        room.house.judge(read=["last_line"])  # read otherwise
        run()
        room.dataset(judge={"judges": ["grader"]}, max_failed_fraction=0.5)  # counted otherwise
        run()
        assert asked == [3, 3, 2, 1, 0, 0]
        room.house.judge(template="{{ input }} Reference: {{ reference }}\nAnswer: {{ answer }}\nWell?")
        run()
        room.house.judge(generation={"max_tokens": 5})
        run()
        assert asked[6:] == [8, 8]
        run(force=True)

    assert asked[8] == 8


def test_a_forced_judge_that_comes_again_for_its_batches_goes_on(court, monkeypatch):
    """Its replies vary, so that what is asked again is another question each time."""
    room = court("x one", "x two")
    room.house.judge(ask_again="Say CORRECT or INCORRECT. {{ reason }}")
    numbers, looks, look = count(), Counter(), BatchApi.batch

    def looked_at(self, id):
        """A batch is done when it is looked at for the second time."""
        looks[id] += 1
        self.is_done = looks[id] > 1
        return look(self, id)

    monkeypatch.setattr(BatchApi, "batch", looked_at)

    def say(body):
        return said("CORRECT" if "Say CORRECT" in body["messages"][-1]["content"] else f"hmm {next(numbers)}")

    with serving_batches(say) as server:
        backend = {"kind": "openai", "model": "m", "base_urls": [server.url], "mode": "batch", "poll_seconds": 0.01}
        room.house.model(name="grader-model", backend=backend, chat=True)
        handed_in = []
        for force in (False, True):
            _, address = room.planned(force=force)
            room.stages(address, *FIRST)
            for _ in range(2):  # for each round of questions
                with pytest.raises(StillWaiting):
                    room.stages(address, "judge", waits=False)
            room.stages(address, "judge", waits=False)
            handed_in.append(len(server.batches))

    assert handed_in == [2, 4]


def test_the_same_prompt_of_two_samples_is_asked_once(court):
    room = court("same", "same", "same")
    room.house.judge(template="{{ answer }}?")
    with room.judged(lambda prompt: "CORRECT") as judge:
        assert room.run()["judged_accuracy"].value == 1.0

    assert len(judge.asked) == 1


def test_two_shards_of_a_judge_give_one_shard_s_numbers(court):
    room = court("right 0", "wrong", None, "right 3", "")
    room.dataset(max_failed_fraction=0.2)
    with room.judged(grade) as judge:
        run, address = room.planned()
        room.stages(address, *FIRST)
        for index in range(2):
            room.stages(address, "judge", shard=Shard(index, 2))
        room.stages(address, "verdict", "publish")
        split = [(j.sample_id, j.value, j.status) for j in room.judgements(run)]
        asked = len(judge.asked)
        whole = room.run()["judged_accuracy"]

    assert split == [
        ("q-0", 1.0, "scored"), ("q-1", 0.0, "scored"), ("q-2", None, "failed"), ("q-3", 1.0, "scored"),
        ("q-4", 0.0, "no_answer"),
    ]  # fmt: skip
    assert (asked, len(judge.asked)) == (3, 3)
    assert (whole.value, whole.samples, whole.failed) == (0.5, 5, 1)


def test_a_judge_killed_in_mid_answer_asks_only_what_is_missing(court):
    room = court(*(f"right {i}" for i in range(8)))
    with room.judged(grade, max_in_flight=1) as judge:  # none is still on its way to the judge when the stage has ended
        _, address = room.planned()
        room.stages(address, *FIRST)
        good, judge.answer = judge.answer, lambda body, n: good(body, n) if n <= 3 else refused(401, "no such key")
        with pytest.raises(Exception, match="no such key"):
            room.stages(address, "judge")
        judge.answer, before = good, len(judge.asked)
        counts = room.stages(address, "judge", "verdict")["judge"]

    assert before == 4
    assert (counts["reused"], counts["asked"], len(judge.asked) - before) == (3, 5, 5)


def test_a_panel_publishes_each_judge_s_rows_beside_its_own(court):
    room = court("right 0", "wrong")
    for name in ("grader", "second", "third"):
        room.house.judge(name=name, system=name)
    room.dataset(judge={"judges": ["grader", "second", "third"], "combine": "vote"})
    with serving_by_name(room) as _:
        rows = room.run()

    assert rows["judged_accuracy"].value == 0.5
    assert {m: rows[m].value for m in rows if "@" in m and m.startswith("judged_accuracy@")} == {
        "judged_accuracy@grader": 0.5, "judged_accuracy@second": 0.5, "judged_accuracy@third": 1.0,
    }  # fmt: skip
    assert rows["judged_accuracy@third"].judge == "third"
    assert rows["judged_accuracy"].judge == "grader+second+third"


def serving_by_name(room):
    def answer(body, _):
        system, user = (m["content"] for m in body["messages"])
        return said("CORRECT" if system == "third" else grade(user))

    class _Serving:
        def __enter__(self):
            self.context = serving(answer)
            server = self.context.__enter__()
            backend = {"kind": "openai", "model": "m", "base_urls": [server.url]}
            room.house.model(name="grader-model", backend=backend, chat=True)

        def __exit__(self, *error):
            self.context.__exit__(*error)

    return _Serving()


@pytest.mark.parametrize(("after", "asked", "value"), [("no_answer", 1, 0.5), ("wrong", 2, 0.75)])
def test_a_cascade_asks_only_what_the_rule_leaves(court, after, asked, value):
    room = court(
        "The answer is right 0", "something else, The answer is right-1", "no answer here", "The answer is right 3"
    )
    extract = [{"regex": {"pattern": "The answer is (.*)"}}]
    room.dataset(extract=extract, metrics=["exact_match"], judge={"judges": ["grader"], "after_rule": after})
    with room.judged(lambda p: "INCORRECT" if "no answer here" in p else "CORRECT") as judge:
        rows = room.run()

    assert len(judge.asked) == asked
    assert rows["cascade_accuracy"].headline
    assert (rows["cascade_accuracy"].value, rows["cascade_accuracy"].samples) == (value, 4)
    assert rows["judged_accuracy"].samples == asked


def test_a_headline_that_no_sample_has_is_an_error(court):
    room = court("dunno")
    room.house.judge(
        verdict={"kind": "correctness", "labels": {"C": "correct", "I": "incorrect", "N": "not_attempted"}},
        headline="judged_accuracy_attempted",
    )
    with room.judged(lambda prompt: "N"), pytest.raises(EmptyScores, match="judged_accuracy_attempted"):
        room.run()


def test_a_model_that_judges_itself_is_warned_of_once(court, caplog):
    room = court("right 0")
    with room.judged(grade) as judge:
        room.house.model(
            name="canned",
            backend={"kind": "openai", "model": "m", "base_urls": [judge.url], "patience_seconds": 0},
            chat=True,
        )
        with caplog.at_level(logging.WARNING):
            room.planned()

    assert [r.getMessage() for r in caplog.records] == [
        "judge grader: model grader-model judges its own answers; such scores are biased"
    ]


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ({"model": "nobody"}, "judge 'grader'.*'nobody'"),
        ({"read": ["lst_tag"]}, "'lst_tag'.*grader.yaml"),
        ({"read": [{"last_tag": {"uniq": True}}]}, "grader.yaml.*uniq"),
        ({"headline": "rating"}, "grader.yaml.*headline: 'rating'"),
        ({"template": "{{ input"}, "grader.yaml.*not valid Jinja"),
        ({"verdict": {"kind": "correctness", "labels": {"A": "correct"}}}, "grader.yaml.*means `incorrect`"),
        ({"verdict": {"kind": "rating", "low": 5, "high": 1}}, "grader.yaml.*low end"),
        ({"verdict": {"kind": "rating", "low": float("nan")}}, r"grader.yaml.*low: .*finite"),
        ({"structured": True}, r"grader.yaml.*\[json_verdict\]"),
        ({"read": []}, "grader.yaml.*read"),
        ({"generation": {"attempts": 2}}, "grader.yaml.*attempts"),
    ],
)
def test_check_names_the_file_of_a_judge_that_cannot_work(court, judge, words):
    room = court("right 0")
    room.house.model(name="grader-model")
    room.house.judge(**judge)

    assert [m for m in mistakes(room.house.catalog) if re.search(words, m, re.DOTALL)], mistakes(room.house.catalog)


@pytest.mark.parametrize(
    ("below", "words"), [("nobody", "grader.yaml extends it"), ("grader", "grader.yaml: judges extend one another")]
)
def test_a_judge_that_extends_nobody_or_itself_is_named_by_its_file(court, below, words):
    place = court("right 0")
    place.house._yaml("judges", {"name": "grader", "extends": below})

    assert any(words in mistake for mistake in mistakes(place.house.catalog))


def test_check_names_the_dataset_of_a_judge_that_is_not_there(court):
    room = court("right 0")
    room.house.model(name="grader-model")
    room.dataset(judge="graeder")

    (mistake,) = mistakes(room.house.catalog)
    assert "dataset 'colours'" in mistake
    assert "Did you mean 'grader'?" in mistake


def test_a_catalog_with_judges_has_no_mistakes_and_lists_them(court):
    room = court("right 0")
    room.house.model(name="grader-model")

    assert mistakes(room.house.catalog) == []
    assert [
        word in listing(room.house.catalog, "judges", []) for word in ("grader", "correctness", "grader-model")
    ] == [True] * 3
    assert "judge: grader" in listing(room.house.catalog, "datasets", [])


def test_an_unknown_judge_of_a_run_is_named(court):
    room = court("right 0")
    with room.judged(grade):
        _, address = room.planned()
        room.stages(address, *FIRST)
        with pytest.raises(UnknownName, match=r"'graeder'.*grader"):
            run_stage("judge", address, room.settings, judge="graeder")


def test_a_conversation_whose_first_turn_failed_has_failed_and_is_asked_again(court):
    room = court(["one", "two"], ["uno"], None)
    fields = {"id": "{{ id }}", "input": "{{ question }}", "follow_ups": ["And then?"], "targets": "{{ answer }}"}
    room.dataset(fields=fields, max_failed_fraction=0.9)
    room.house.judge(**RATING, turns="each", template="{{ turns | length }}: {{ answer }}")
    with room.judged(lambda prompt: "[[8]]" if "one" in prompt else "[[4]]"):
        run, address = room.planned()
        room.stages(address, *FIRST)
        room.stages(address, "judge", "verdict", "publish")
        before = [(j.sample_id, j.turn, j.value) for j in room.judgements(run)]
        reasons = {j.explanation for j in room.judgements(run) if j.status == "failed"}
        again = run_stage("infer", address, room.settings).counts

    assert before == [
        ("q-0", 1, 8.0),
        ("q-0", 2, 4.0),
        ("q-1", 1, 4.0),
        ("q-1", 2, None),
        ("q-2", 1, None),
        ("q-2", 2, None),
    ]
    assert any("no answer for sample 'q-2'" in reason for reason in reasons)
    assert (again["asked"], again["failed"]) == (3, 3)


def test_judged_pairs_from_end_to_end(court):
    room = court("longer", "x", "")
    room.house.judge(**PAIR)
    room.house.jsonl("others.jsonl", [{"id": f"q-{i}", "said": "medium"[: 3 + i]} for i in range(3)])
    baseline = {"kind": "file", "name": "other", "path": "others.jsonl", "id": "{{ id }}", "text": "{{ said }}"}
    room.dataset(judge={"judges": ["grader"], "baselines": [baseline]})

    def longer(prompt):
        first, second = (re.search(rf"\[{s}\](.*)\[/{s}\]", prompt)[1] for s in "AB")
        return "[[A]]" if len(first) > len(second) else "[[B]]"

    with room.judged(longer) as judge:
        rows = room.run()
        room.house.jsonl("others.jsonl", [{"id": f"q-{i}", "said": "med" if i == 0 else "changed"} for i in range(3)])
        before = len(judge.asked)
        room.run()

    assert (rows["win_rate"].value, rows["win_rate"].no_answer, rows["consistency"].value) == (
        pytest.approx(1 / 3),
        1,
        1.0,
    )
    assert before == 4
    assert len(judge.asked) - before == 2  # of q-0 nothing has changed, q-2 is never asked about
