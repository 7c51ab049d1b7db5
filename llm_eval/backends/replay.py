"""Answers that were made elsewhere, read from a jsonl or Parquet file by sample id."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, cast

from llm_eval.backends import Extra
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import InvalidData, MissingSource
from llm_eval.fingerprint import fingerprint
from llm_eval.prompts import chat_prompt, is_chat, text_prompt
from llm_eval.records import Likelihood, Request, RequestKind, Response
from llm_eval.settings import Settings, find
from llm_eval.specs import Checkpoint, DatasetSpec, Generation, ModelSpec, ReplayBackend

_ROUNDING = 1e-6  # a log-likelihood of certainty may come out a little above 0


class Row(NamedTuple):
    """One answer; `place` is its "line 3" of a jsonl or "row 3" of a Parquet file, from 1."""

    place: str
    values: dict[str, Any]


class Replay:
    """Gives back what a file says each sample was answered; asks no model."""

    kinds: ClassVar[frozenset[RequestKind]] = frozenset({"generate", "choices", "perplexity"})
    extras: ClassVar[frozenset[Extra]] = frozenset()

    def __init__(self, spec: ReplayBackend, path: Path) -> None:
        self.spec = spec
        self.path = path
        self.rows = _by_id(path, spec)
        self.columns = frozenset(column for row in self.rows.values() for column in row.values)

    @classmethod
    def identity(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: str, settings: Settings) -> str:
        spec = cast(ReplayBackend, model.backend)
        with open(_locate(model, dataset, settings), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return fingerprint(digest, spec.id, spec.text, spec.logprobs, spec.tokens)

    @classmethod
    def check(cls, model: ModelSpec, checkpoint: Checkpoint | None, dataset: DatasetSpec, settings: Settings) -> None:
        pass

    @classmethod
    def raw_prompt(
        cls, model: ModelSpec, checkpoint: Checkpoint | None, settings: Settings, request: Request
    ) -> str | None:
        return None

    @classmethod
    def open(
        cls,
        model: ModelSpec,
        checkpoint: Checkpoint | None,
        dataset: str,
        settings: Settings,
        place: Workplace | None = None,
    ) -> Self:
        """Reads the whole file. Raises MissingSource, or InvalidData that names file and line."""
        return cls(cast(ReplayBackend, model.backend), _locate(model, dataset, settings))

    def answer(self, requests: Sequence[Request], generation: Generation) -> Iterator[Response]:
        """One response per request and attempt. Raises InvalidData for an answer that does not fit its request.

        Attempts, or the turns of a conversation: the entries of a list in the text column, in order; a plain string
        answers the first one only.
        """
        for request in requests:
            row = self.rows.get(request.sample_id)
            for attempt in range(generation.attempts):
                yield self._response(request, attempt, row)

    def _response(self, request: Request, attempt: int, row: Row | None) -> Response:
        shots = len(request.shots)
        if request.kind == "generate":
            text = self._text(row, attempt + request.turn - 1)
            if row is not None and text is not None:
                return Response(request.id, attempt, text, shots=shots)
        elif row is not None and row.values.get(self._column(self.spec.logprobs)) is not None:
            likelihoods = self._likelihoods(request, row)
            return Response(request.id, attempt, likelihoods=likelihoods, shots=shots, finish_reason="scored")
        which = f" (attempt {attempt})" if attempt else ""
        error = f"no answer for sample {request.sample_id!r}{which} in {self.path}"
        return Response(request.id, attempt, finish_reason="error", error=error)

    def _column(self, name: str) -> str:
        """`name`; raises InvalidData if no row of the file has such a column: a wrong name is no missing answer."""
        if name not in self.columns:
            known = ", ".join(sorted(self.columns))
            raise InvalidData(
                f"{self.path}: there is no column {name!r}. Columns: {known}. Name it in the model's backend."
            )
        return name

    def _text(self, row: Row | None, attempt: int) -> str | None:
        """None where the file has no answer."""
        column = self._column(self.spec.text)
        value = None if row is None else row.values.get(column)
        texts = value if isinstance(value, list) else [value]
        text = texts[attempt] if attempt < len(texts) else None
        if text is not None and not isinstance(text, str):
            assert row is not None  # only a row gives a value
            raise InvalidData(
                f"{self.path}, {row.place}: {column!r} of sample {row.values[self.spec.id]!r} is "
                f"{type(text).__name__} {text!r}; a string, a list of strings or null is needed"
            )
        return text

    def _likelihoods(self, request: Request, row: Row) -> tuple[Likelihood, ...]:
        logprobs = self._numbers(request, row, self.spec.logprobs)
        if row.values.get(self.spec.tokens) is None:
            tokens = [0.0] * len(logprobs)  # unknown: metrics per token refuse to divide by it
        else:
            tokens = self._numbers(request, row, self.spec.tokens)
        if wrong := [v for v in logprobs if v > _ROUNDING]:
            raise InvalidData(
                f"{self._where(request, row)}: {self.spec.logprobs!r} holds {wrong[0]!r}; "
                "log-likelihoods are at most 0 (nats)"
            )
        if wrong := [v for v in tokens if v < 0 or v != int(v)]:
            raise InvalidData(
                f"{self._where(request, row)}: {self.spec.tokens!r} holds {wrong[0]!r}; counts are needed"
            )
        return tuple(
            Likelihood(logprob, int(count), _bytes(request, continuation))
            for logprob, count, continuation in zip(logprobs, tokens, request.continuations, strict=True)
        )

    def _numbers(self, request: Request, row: Row, column: str) -> list[float]:
        values = row.values[column]
        wanted = len(request.continuations)
        if not isinstance(values, list) or len(values) != wanted:
            given = f"{len(values)} values" if isinstance(values, list) else repr(values)
            raise InvalidData(
                f"{self._where(request, row)}: {column!r} is {given}; a list of {wanted} is needed, one per choice"
            )
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InvalidData(f"{self._where(request, row)}: {column!r} holds {value!r}; finite numbers are needed")
        return [float(v) for v in values]

    def _where(self, request: Request, row: Row) -> str:
        return f"{self.path}, {row.place}: sample {request.sample_id!r}"

    def peak_gpu_memory_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        self.rows = {}


def _locate(model: ModelSpec, dataset: str, settings: Settings) -> Path:
    path = cast(ReplayBackend, model.backend).path.replace("{dataset}", dataset)
    found = find(path, settings.datasets)
    if found is None or not found.is_file():
        looked = path if Path(path).is_absolute() else ", ".join(str(f / path) for f in settings.datasets) or "nowhere"
        raise MissingSource(
            f"model {model.name!r}: there is no file {path!r} of answers. Looked at: {looked}. "
            "Fix backend.path, or set LLM_EVAL_DATASETS to the folder that holds it."
        )
    return found


def _by_id(path: Path, spec: ReplayBackend) -> dict[str, Row]:
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}
    if path.suffix not in readers:
        raise InvalidData(f"{path}: answers are read from {', '.join(readers)}; {path.suffix!r} is none of these")
    rows: dict[str, Row] = {}
    for row in readers[path.suffix](path):
        value = row.values.get(spec.id)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InvalidData(
                f"{path}, {row.place}: {spec.id!r} is {value!r}; a sample id (string or whole number) is needed. "
                f"Columns there are: {', '.join(row.values)}. Name the id column as backend.id."
            )
        earlier = rows.setdefault(str(value), row)
        if earlier is not row:
            raise InvalidData(f"{path}: sample {str(value)!r} is answered twice, on {earlier.place} and {row.place}")
    if not rows:
        raise InvalidData(f"{path}: the file holds no answers")
    return rows


def _jsonl(path: Path) -> Iterator[Row]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except ValueError as error:  # JSON or UTF-8
                raise InvalidData(f"{path}, line {number}: not valid JSON ({error})") from error
            if not isinstance(values, dict):
                raise InvalidData(f"{path}, line {number}: an object is needed, not {type(values).__name__}")
            yield Row(f"line {number}", values)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidData(f"{path}: not a readable Parquet file ({error})") from error
    for number, values in enumerate(table.to_pylist(), start=1):
        yield Row(f"row {number}", values)


def _bytes(request: Request, continuation: str) -> int:
    """UTF-8 length of what the log-likelihood is of: the continuation, or for kind perplexity the whole text."""
    if request.kind != "perplexity":
        return len(continuation.encode())
    shots = len(request.shots)
    prompt = (
        "".join(m.content for m in chat_prompt(request, shots)) if is_chat(request) else text_prompt(request, shots)
    )
    return len((prompt + continuation).encode())
