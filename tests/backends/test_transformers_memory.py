"""Batches when memory is full. The full memory is pretended in the library's forward pass: no GPU is needed."""

import functools

import pytest

from llm_eval.backends.transformers.memory import Batcher
from llm_eval.errors import BackendLost


def only(limit: int, error: Exception | None = None):
    """A function that answers at most `limit` rows at once, and its calls."""
    import torch

    calls: list[list[int]] = []

    def work(rows: list[int]) -> list[int]:
        calls.append(rows)
        if len(rows) > limit:
            raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [-row for row in rows]

    return work, calls


def test_the_longest_rows_come_first_in_batches_of_the_size_asked_for():
    work, calls = only(4)
    list(Batcher(2).run([3, 1, 5, 2, 4], lambda row: row, work))
    assert calls == [[5, 4], [3, 2], [1]]


def test_a_full_memory_halves_the_batch_and_every_row_is_answered_once():
    work, calls = only(2)
    batcher = Batcher(8)
    batches = list(batcher.run(list(range(10)), lambda row: row, work))
    assert [row for batch in batches for row in batch.rows] == list(range(9, -1, -1))
    assert all(batch.answers == [-row for row in batch.rows] for batch in batches)
    assert [len(rows) for rows in calls] == [8, 4, 2, 2, 2, 2, 2]
    assert batcher.size == 2, "what did not fit once is not tried again"


def test_a_row_that_does_not_fit_alone_has_no_answer_and_the_rest_goes_on():
    import torch

    def work(rows: list[int]) -> list[int]:
        if max(rows) > 7:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows

    batches = list(Batcher(2).run([1, 9, 2], lambda row: row, work))
    assert [(b.rows, b.answers) for b in batches] == [([9], None), ([2], [2]), ([1], [1])]


def test_the_cpus_own_words_for_a_full_memory_are_understood():
    work, _ = only(1, RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 4 bytes"))
    assert [b.answers for b in Batcher(2).run([1, 2], lambda row: row, work)] == [[-2], [-1]]


def test_other_errors_are_not_taken_for_a_full_memory():
    work, calls = only(1, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        list(Batcher(2).run([1, 2], lambda row: row, work))
    assert len(calls) == 1


def test_a_broken_accelerator_is_a_lost_backend():
    import torch

    work, _ = only(0, torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(BackendLost, match="illegal memory access"):
        list(Batcher(2).run([1, 2], lambda row: row, work))


@pytest.mark.parametrize("kind", ["generate", "choices"])
def test_answers_are_the_same_after_memory_was_full(ask, request_of, monkeypatch, kind):
    import torch
    from transformers import LlamaForCausalLM

    continuations = (" A", " the whale") if kind == "choices" else ()
    requests = [request_of(str(i), kind, "Water boils. " * (i + 1), continuations) for i in range(5)]
    generation = {"max_tokens": 6, "temperature": 0.7, "attempts": 2}
    expected = ask("llama", requests, generation, batch_tokens=2)
    forward = LlamaForCausalLM.forward
    passes = []

    @functools.wraps(forward)
    def small(self, input_ids, **arguments):
        passes.append(len(input_ids))
        if len(input_ids) > 2 or (len(passes) > 2 and len(input_ids) > 1):  # full at first, and in mid-answer
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, **arguments)

    monkeypatch.setattr(LlamaForCausalLM, "forward", small)
    found = ask("llama", requests, generation, batch_tokens=8)

    assert max(passes) > 2
    assert found.keys() == expected.keys()
    for key in found:
        assert found[key].text == expected[key].text
        logprobs = [[one.logprob for one in r.likelihoods] for r in (found[key], expected[key])]
        assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-4)
