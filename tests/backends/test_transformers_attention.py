"""The parts of attention, each against the formula in float64."""

import pytest


@pytest.fixture
def tensors():
    import torch

    draw = torch.Generator().manual_seed(0)

    def make(*shape: int):
        return torch.randn(*shape, generator=draw)

    return make


def formula(queries, keys, values, scale, mask=None):
    """Softmax attention and the logarithms of its sums, in float64; mask True where a query sees a key."""
    import torch

    scores = queries.double() @ keys.double().transpose(-1, -2) * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ values.double(), scores.logsumexp(-1)


@pytest.mark.parametrize("kernel", ["attend", "by_hand"])
@pytest.mark.parametrize(("causal", "masked"), [(True, False), (False, True), (False, False)])
def test_every_kernel_gives_the_formulas_attention_and_sums(tensors, kernel, causal, masked):
    import torch

    from llm_eval.backends.transformers.engine import attention

    others = 37 if causal else 53
    queries, keys, values = tensors(2, 4, 37, 16), tensors(2, 4, others, 16), tensors(2, 4, others, 16)
    visible = torch.rand(2, 1, 37, others, generator=torch.Generator().manual_seed(1)) < 0.5
    visible[..., 0] = True
    mask = torch.zeros(visible.shape).masked_fill_(~visible, -torch.inf) if masked else None
    out, sums = getattr(attention, kernel)(queries, keys, values, 0.3, causal=causal, mask=mask)
    hidden = visible if masked else torch.ones(37, others).tril().bool() if causal else None
    expected, expected_sums = formula(queries, keys, values, 0.3, hidden)
    torch.testing.assert_close(out.double(), expected, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(sums.double(), expected_sums, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parts_that_are_merged_are_the_attention_over_all(tensors, dtype):
    import torch

    from llm_eval.backends.transformers.engine.attention import attend, merge

    kind = getattr(torch, dtype)
    queries, keys, values = (
        tensors(1, 4, 20, 16).to(kind),
        tensors(1, 4, 90, 16).to(kind),
        tensors(1, 4, 90, 16).to(kind),
    )
    out, sums = (t[0].contiguous() for t in attend(queries, keys[:, :, :30], values[:, :, :30], 0.25))
    for part in (slice(30, 31), slice(31, 90)):
        more, more_sums = attend(queries, keys[:, :, part], values[:, :, part], 0.25)
        merge(out, sums, more[0], more_sums[0])
    expected, expected_sums = formula(queries, keys, values, 0.25)
    torch.testing.assert_close(out.double(), expected[0], atol=2e-6 if dtype == "float32" else 2e-2, rtol=1e-2)
    torch.testing.assert_close(sums.double(), expected_sums[0], atol=1e-5 if dtype == "float32" else 2e-2, rtol=1e-2)
