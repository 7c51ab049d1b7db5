"""Limits of a server: kept, evenly used, and shared by all that ask it."""

import threading
import time
from pathlib import Path

import pytest

from llm_eval.backends.openai import crowd
from llm_eval.backends.openai.crowd import Crowd
from llm_eval.backends.openai.flow import Rate
from llm_eval.backends.workplace import Workplace
from llm_eval.layout import WHOLE, Shard
from tests.backends.api_server import said, serving
from tests.backends.served import ask, questions

pytestmark = pytest.mark.usefixtures("short_pauses")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def taken(rate, clock, seconds, units=1.0):
    """How many were taken within so many seconds by one who takes whatever can be had."""
    end, count = clock.now + seconds, 0
    while (pause := rate.pause()) + clock.now <= end:
        clock.now += pause
        rate.take(units)
        count += 1
    clock.now = end
    return count


@pytest.mark.parametrize(
    ("per_minute", "seconds", "expected"),
    [(9.6, 600, 97), (30_000, 10, 5_500), (120, 60, 122)],  # what is free at once is a second's worth
)
def test_a_rate_is_kept_however_slow_or_fast(per_minute, seconds, expected):
    clock = Clock()

    assert taken(Rate(per_minute, clock=clock), clock, seconds) == pytest.approx(expected, abs=1)


def test_what_was_not_used_is_saved_for_a_second_only():
    clock = Clock()
    rate = Rate(120, clock=clock)
    taken(rate, clock, 0)
    clock.now += 3600

    assert taken(rate, clock, 0) == 3  # two, and one on credit
    assert rate.pause() == 0.5


def test_what_is_more_than_there_is_is_paid_back_by_who_comes_next():
    clock = Clock()
    rate = Rate(120, clock=clock)
    rate.take(122)

    assert rate.pause() == 60.0


def test_a_rate_is_divided_and_what_one_leaves_others_have_at_once():
    clock, sharers = Clock(), [4]
    rate = Rate(240, lambda: sharers[0], clock=clock)

    assert taken(rate, clock, 60) == pytest.approx(60, abs=2)
    sharers[0] = 1
    assert taken(rate, clock, 60) == pytest.approx(240, abs=5)


def test_requests_wait_for_the_rate():
    with serving(lambda body, number: said("x")) as server:
        began = time.monotonic()
        ask(server, questions(14), requests_per_minute=240)  # four and one on credit at once, then one in 0.25 s

    assert server.times[-1] - began >= 9 * 0.25


def test_tokens_wait_for_theirs():
    with serving(lambda body, number: said("x")) as server:  # 256 for each answer at its longest
        ask(server, questions(5), tokens_per_minute=4 * 256 * 60)

    assert 0 < server.times[-1] - server.times[0] < 10


def test_a_crowd_counts_who_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(crowd, "BEAT_SECONDS", 1000.0)
    folder, clock = str(tmp_path), Clock()

    one = Crowd(folder, 3, clock)
    assert one.size == 3  # those that start together may not have come yet
    one.beat()
    assert one.size == 1
    other = Crowd(folder, 1, clock)
    one.beat()
    assert (one.size, other.size) == (2, 2)
    other.close()
    one.beat()
    assert one.size == 1
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_who_was_killed_is_missed_after_a_while(tmp_path):
    folder, clock = str(tmp_path), Clock()
    one = Crowd(folder, 1, clock)
    killed = tmp_path / "killed.json"
    killed.write_text("17")
    one.beat()
    assert one.size == 2

    clock.now += crowd.BEAT_SECONDS * crowd.SILENT_BEATS
    killed.write_text("18")
    one.beat()
    clock.now += crowd.BEAT_SECONDS * crowd.SILENT_BEATS + 1
    still = one.size
    one.beat()

    assert (still, one.size, killed.exists()) == (2, 1, False)
    one.close()


def test_a_root_that_is_away_changes_nothing(tmp_path):
    one = Crowd(str(tmp_path / "asking"), 2)
    next((tmp_path / "asking").iterdir()).unlink()
    (tmp_path / "asking").rmdir()
    (tmp_path / "asking").write_text("no folder")

    one.beat()

    assert one.size == 2
    one.close()


@pytest.mark.slow
def test_shards_share_a_limit_and_the_last_one_has_it_all(tmp_path, monkeypatch):
    """240 a minute for 44 requests: some ten at once, then one each quarter of a second, whoever asks."""
    monkeypatch.setattr(crowd, "BEAT_SECONDS", 1.0)
    counts = (4, 4, 4, 4, 4, 24)

    def shard(index):
        place = Workplace(str(tmp_path), str(tmp_path / "responses"), Shard(index, len(counts)), f"part-{index}")
        ask(server, questions(counts[index]), place=place, requests_per_minute=240, max_in_flight=4)

    with serving(lambda body, number: said("x")) as server:
        began = time.monotonic()
        threads = [threading.Thread(target=shard, args=(index,)) for index in range(len(counts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # The last one alone would take 5 s with the whole limit from the start, and 33 s with its sixth to the end.
    assert 0.8 * (44 - 10) / 4 <= server.times[-1] - began <= 30
    assert [f for f in Path(tmp_path, "asking").rglob("*") if f.is_file()] == []


def test_without_a_limit_nobody_says_that_it_is_there(tmp_path):
    with serving(lambda body, number: said("x")) as server:
        ask(server, questions(2), place=Workplace(str(tmp_path), str(tmp_path / "responses"), WHOLE, "part-1"))

    assert list(tmp_path.iterdir()) == []
