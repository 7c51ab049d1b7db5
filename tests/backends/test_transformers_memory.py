"""What fits, and what happens when it does not. The full memory is pretended in the library's forward pass."""

import functools
import logging

import pytest

from llm_eval.backends.transformers.engine.memory import fits
from llm_eval.backends.transformers.free_memory import free_bytes
from llm_eval.errors import BackendLost


def raising(error: Exception):
    def work():
        raise error

    return work


def test_the_cpus_own_words_for_a_full_memory_are_understood():
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 4 bytes")
    assert fits(raising(error)) is None


def test_other_errors_are_not_taken_for_a_full_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        fits(raising(RuntimeError("shapes do not match")))


def test_a_broken_accelerator_is_a_lost_backend():
    import torch

    with pytest.raises(BackendLost, match="illegal memory access"):
        fits(raising(torch.AcceleratorError("CUDA error: an illegal memory access was encountered")))


def test_free_memory_is_less_than_the_machine_has():
    import psutil
    import torch

    assert 0 < free_bytes(torch.device("cpu")) <= psutil.virtual_memory().total


@pytest.fixture
def small_memory(monkeypatch):
    """small_memory(tokens): from now on a Llama has room for so many tokens at once; returns its passes' sizes."""
    import torch
    from transformers import LlamaForCausalLM

    forward = LlamaForCausalLM.forward

    def restrict(tokens: int) -> list[int]:
        sizes: list[int] = []

        @functools.wraps(forward)
        def small(self, input_ids, **arguments):
            sizes.append(input_ids.numel())
            if input_ids.numel() > tokens:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return forward(self, input_ids, **arguments)

        monkeypatch.setattr(LlamaForCausalLM, "forward", small)
        return sizes

    return restrict


@pytest.fixture
def requests_of(request_of, shots):
    def make(kind: str):
        continuations = (" A", " the whale") if kind == "choices" else ()
        return [request_of(str(i), kind, f"{i}: " + "Water boils. " * (i + 1), continuations) for i in range(5)]

    return make


@pytest.mark.parametrize("attention", ["packed", "plain"])
@pytest.mark.parametrize("kind", ["generate", "choices"])
def test_answers_are_the_same_after_memory_was_full(load, ask, requests_of, small_memory, caplog, kind, attention):
    from llm_eval.specs import Generation

    generation = {"max_tokens": 6, "temperature": 0.7, "attempts": 2}
    expected = ask("llama", requests_of(kind), generation)
    model = load("llama", attention=attention)  # its trial needs more than what is left below
    sizes = small_memory(60)
    with caplog.at_level(logging.WARNING):
        answers = list(model.answer(requests_of(kind), Generation.model_validate(generation)))
    found = {(r.request_id, r.attempt): r for r in answers}

    assert max(sizes) > 60
    assert "out of memory with" in caplog.text
    assert len(answers) == len(found)
    assert found.keys() == expected.keys()
    for key in found:
        assert (found[key].error, found[key].text) == (None, expected[key].text)
        logprobs = [[one.logprob for one in r.likelihoods] for r in (found[key], expected[key])]
        assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-4)


def test_answers_that_are_being_written_go_on_after_memory_was_full(load, ask, requests_of, small_memory):
    """All prompts fit one by one, but not all answers side by side: some are put back, with what they have written."""
    from llm_eval.specs import Generation

    generation = {"max_tokens": 12, "attempts": 8}
    requests = requests_of("generate")
    expected = ask("llama", requests, generation)
    model = load("llama", batch_tokens=16)
    sizes = small_memory(16)
    answers = list(model.answer(requests, Generation.model_validate(generation)))
    assert max(sizes) > 16
    assert {(r.request_id, r.attempt): r.text for r in answers} == {k: r.text for k, r in expected.items()}
    assert len(answers) == len(expected)


@pytest.mark.parametrize("kind", ["generate", "choices"])
def test_a_request_for_which_there_is_no_memory_at_all_is_an_error_and_nothing_else(
    load, requests_of, small_memory, kind
):
    from llm_eval.specs import Generation

    model = load("llama")
    small_memory(0)
    answers = list(model.answer(requests_of(kind), Generation(max_tokens=4)))
    assert sorted(r.request_id for r in answers) == ["0", "1", "2", "3", "4"]
    assert all("memory is too small" in r.error for r in answers)


def test_a_small_cache_only_costs_time(ask, requests_of):
    """Too small to keep a prefix, and for one answer only."""
    for kind in ("generate", "choices"):
        generation = {"max_tokens": 20, "attempts": 3, "temperature": 1.0}
        expected = ask("llama", requests_of(kind), generation)
        found = ask("llama", requests_of(kind), generation, cache_gib=1e-7)
        assert {k: r.text for k, r in found.items()} == {k: r.text for k, r in expected.items()}
        for key in found:
            logprobs = [[one.logprob for one in r.likelihoods] for r in (found[key], expected[key])]
            assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-4)
