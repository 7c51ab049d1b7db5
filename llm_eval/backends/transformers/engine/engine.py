"""The two ways to ask a loaded model: packed, and plain for the models that cannot be packed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from llm_eval.backends.transformers.encoding import Row
from llm_eval.backends.transformers.engine.decoding import Writer
from llm_eval.backends.transformers.engine.drafts import Task
from llm_eval.backends.transformers.engine.heap import keep_freed_memory
from llm_eval.backends.transformers.engine.linears import quicken
from llm_eval.backends.transformers.engine.memory import GIB, room
from llm_eval.backends.transformers.engine.plain import Plain
from llm_eval.backends.transformers.engine.probe import Cost, switch_to_packed
from llm_eval.backends.transformers.engine.reading import Reader
from llm_eval.backends.transformers.engine.scoring import Scored, Scorer
from llm_eval.backends.transformers.engine.seq2seq import EncoderDecoder
from llm_eval.backends.transformers.loading import Loaded, Unpackable
from llm_eval.records import Response
from llm_eval.specs import Generation, TransformersBackend

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """Equal answers, whichever it is; only the speed differs."""

    def score(self, rows: Sequence[Row]) -> Iterator[Scored]:
        """Each row once."""
        ...

    def write(self, generation: Generation, windows: Iterable[list[Task]]) -> Iterator[Response]:
        """Each task's response once."""
        ...


@dataclass(frozen=True, slots=True)
class Packed:
    """No padding, shared prefixes read once, slots."""

    reader: Reader
    slots: int

    def score(self, rows: Sequence[Row]) -> Iterator[Scored]:
        return Scorer(self.reader).score(rows)

    def write(self, generation: Generation, windows: Iterable[list[Task]]) -> Iterator[Response]:
        return Writer(self.reader, generation, windows, self.slots).write()


def engine(loaded: Loaded, spec: TransformersBackend, share: float = 1.0) -> Engine:
    """The packed engine where the model allows it and its spec does not say otherwise; a log line tells which.

    share: (0, 1], of the room that it would take; less after memory was full.
    """
    if loaded.device.type == "cpu":
        keep_freed_memory()
        if not loaded.is_encoder_decoder:  # T5's code looks into its linear layers
            quicken(loaded.model, loaded.dtype)
    cost, kind = _estimate(loaded), "plain, as asked for"
    if spec.attention == "packed":
        try:
            cost = switch_to_packed(loaded)
            kind = "packed"
        except Unpackable as error:
            kind = f"plain, which is slower: {error}"
    has = room(loaded, spec, cost.kv_bytes, cost.logit_bytes).part(share)
    logger.info(
        "model %s on %s, %s: at most %d tokens a pass, %.1f GiB for keys and values; attention %s",
        loaded.name,
        loaded.device,
        str(loaded.dtype).removeprefix("torch."),
        has.limits.tokens,
        has.cache_tokens * cost.kv_bytes / GIB,
        kind,
    )
    if kind == "packed":
        return Packed(Reader(loaded, has), has.slots)
    return EncoderDecoder.of(loaded, has) if loaded.is_encoder_decoder else Plain.of(loaded, has)


def _estimate(loaded: Loaded) -> Cost:
    """For a model that cannot be asked: as if every head had keys and values of its own."""
    config = loaded.model.config.get_text_config()
    hidden, layers = getattr(config, "hidden_size", 4096), getattr(config, "num_hidden_layers", 32)
    return Cost(2 * hidden * layers * loaded.dtype.itemsize, 4 * loaded.vocabulary)
