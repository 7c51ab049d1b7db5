"""A server whose plain completions are answered by a real model, in the words of vLLM.

Source of the form: vLLM's `OpenAIServingCompletion._create_completion_logprobs` (echo: the prompt's tokens come first,
the first of them without a log-probability; each token by the text that it decodes to alone, a BOS included).
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tests.backends.api_server import Reply


class Completions:
    """`answer` is what `api_server.serving` wants. writes_end: whether the token written after an echo is left out."""

    def __init__(self, folder: Path, leaves_last_out: bool = False) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._network = AutoModelForCausalLM.from_pretrained(folder).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._leaves_last_out = leaves_last_out
        self._lock = threading.Lock()

    def answer(self, body: dict[str, Any], number: int) -> Reply:
        import torch

        assert body["echo"] is True
        ids = self._tokenizer.encode(body["prompt"])
        with self._lock, torch.no_grad():
            likely = self._network(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        values = [None, *(likely[i - 1, ids[i]].item() for i in range(1, len(ids)))]
        if not self._leaves_last_out:
            written = int(likely[-1].argmax())
            ids, values = [*ids, written], [*values, likely[-1, written].item()]
        tokens = [self._tokenizer.decode([token]) for token in ids]
        logprobs = {
            "tokens": tokens,
            "token_logprobs": values,
            "top_logprobs": [None if v is None else {t: v} for t, v in zip(tokens, values, strict=True)],
            "text_offset": [sum(map(len, tokens[:i])) for i in range(len(tokens))],
        }
        text = body["prompt"] + ("" if self._leaves_last_out else tokens[-1])
        choices = [{"index": 0, "text": text, "finish_reason": "length", "logprobs": logprobs}]
        written = 0 if self._leaves_last_out else 1
        usage = {"prompt_tokens": len(ids) - written, "completion_tokens": written}
        return Reply(
            {"id": "1", "object": "text_completion", "model": body["model"], "choices": choices, "usage": usage}
        )
