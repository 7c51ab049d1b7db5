"""Two runs of one pair at work at once: what the one adds changes nothing of what the other has read, or is told."""

import pytest

from llm_eval import storage, tables
from llm_eval.errors import IncompleteStage
from llm_eval.layout import WHOLE, Layout, Shard
from llm_eval.records import Response
from llm_eval.stages.parts import PartWriter
from llm_eval.stages.render import read_requests

BEFORE = ("fetch", "validate", "render", "infer", "score")


@pytest.fixture
def room(court):
    """Two answers, and a judge who asks again where it is not understood."""
    made = court("right", "wrong")
    made.house.judge(ask_again="Say CORRECT or INCORRECT. {{ reason }}")
    return made


def grade(said: str) -> str:
    return "INCORRECT" if "wrong" in said else "CORRECT"


def add(folder: str, replies: dict[str, str]) -> None:
    with PartWriter(folder, WHOLE) as others:
        for id, text in replies.items():
            others.add(Response(id, text=text))


def test_answers_that_come_after_score_are_not_judged(room):
    with room.judged(grade) as server:
        run, address = room.planned()
        place = Layout(room.settings.root, run)
        room.stages(address, *BEFORE, "judge")
        add(place.responses, {request.id: "another wording" for request in read_requests(place)})
        room.stages(address, "verdict", "publish")

    assert len(server.asked) == 2
    assert sorted(each.value for each in room.judgements(run)) == [0.0, 1.0]


def test_a_second_reply_to_a_question_changes_no_verdict(room):
    with room.judged(grade) as server:
        run, address = room.planned()
        place = Layout(room.settings.root, run)
        room.stages(address, *BEFORE, "judge")
        kept = place.replies(run.judges[0])
        asked = tables.read_all(storage.files(kept, ".parquet"), Response)
        add(kept, {reply.request_id: "well, hmm" for reply in asked})
        room.stages(address, "verdict", "publish")

    assert len(server.asked) == 2
    assert sorted(each.value for each in room.judgements(run)) == [0.0, 1.0]


@pytest.mark.parametrize("done", [("judge",), ("judge", "verdict")])
def test_answers_that_another_run_scores_anew_are_judged_anew(room, done):
    """By force: both runs' scores are one file."""
    with room.judged(grade) as server:
        run, address = room.planned()
        place = Layout(room.settings.root, run)
        room.stages(address, *BEFORE, *done)
        add(place.responses, {request.id: f"wrong {request.id}" for request in read_requests(place)})
        room.stages(address, "score", force=True)
        following = "verdict" if done == ("judge",) else "publish"
        with pytest.raises(IncompleteStage, match="llm-eval judge"):
            room.stages(address, following)
        room.stages(address, "judge", "verdict", "publish")

    assert len(server.asked) == 4
    assert [each.value for each in room.judgements(run)] == [0.0, 0.0]


def test_an_answer_that_failed_is_judged_once_it_has_come(court):
    """Where nothing but judges measures: score is not done while an answer is lacking."""
    room = court("right", None)
    room.dataset(max_failed_fraction=0.5)
    with room.judged(grade):
        run, address = room.planned()
        place = Layout(room.settings.root, run)
        room.stages(address, *BEFORE, "judge", "verdict", "publish")
        before = [each.value for each in room.judgements(run)]
        add(place.responses, {"q-1": "wrong"})
        room.stages(address, "score", "judge", "verdict")
        room.stages(address, "publish", force=True)

    assert (before, [each.value for each in room.judgements(run)]) == ([1.0, None], [1.0, 0.0])


def test_another_number_of_shards_leaves_one_set_of_replies(room):
    with room.judged(grade):
        run, address = room.planned()
        place = Layout(room.settings.root, run)
        room.stages(address, *BEFORE, "judge")
        first = storage.files(place.verdicts, ".parquet")
        for shard in (Shard(0, 2), Shard(1, 2)):
            room.stages(address, "judge", shard=shard)
        room.stages(address, "verdict", "publish")

    assert [file.rpartition("/")[2] for file in first] == ["replies-grader-0of1.parquet"]
    names = [file.rpartition("/")[2] for file in storage.files(place.verdicts, ".parquet")]
    assert [name for name in names if name.startswith("replies-")] == [
        "replies-grader-0of2.parquet",
        "replies-grader-1of2.parquet",
    ]
    assert sorted(each.value for each in room.judgements(run)) == [0.0, 1.0]
