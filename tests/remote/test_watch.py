from io import StringIO

import pytest
from rich.console import Console

from llm_eval.remote.client import DagRun, Task
from llm_eval.remote.watch import Board, Outcome, doing

RUN = DagRun(
    "d",
    "r",
    "success",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:01Z",
    "2026-01-01T00:00:12.340000Z",
    "2026-01-01T00:00:00Z",
)


def task(name, state, map_index=-1):
    return Task("d", "r", name, map_index, 1, state, None)


@pytest.mark.parametrize(
    ("tasks", "shown"),
    [
        ([], "waiting"),
        ([task("plan", "success"), task("fetch", "running"), task("validate", None)], "fetch"),
        ([task("infer", "running", 0), task("infer", "running", 1), task("infer", "queued", 2)], "infer × 2"),
        ([task("infer", "up_for_retry")], "infer (will be tried again)"),
        ([task("fetch", "queued")], "fetch"),
    ],
)
def test_a_run_is_shown_by_what_it_is_at(tasks, shown):
    assert doing(tasks) == shown


def test_without_a_terminal_each_ended_run_is_one_plain_line():
    file = StringIO()
    board = Board(Console(file=file, width=40), ["gsm8k · [step-1]", "mmlu"])
    with board.bars:
        board.finish(Outcome("gsm8k · [step-1]", RUN, None))
        board.finish(Outcome("mmlu", RUN, "plan: model 'm': there is no folder '/models/[m]'"))

    assert file.getvalue().splitlines() == [
        "gsm8k · [step-1]: done (12.3 s)",
        "mmlu: failed in plan: model 'm': there is no folder '/models/[m]' (12.3 s)",
    ]
