"""Our side of the in-process comparison, run by compare.py: reads a job, loads the model, answers, writes what it took.

python side_ours.py JOB.json ANSWERS.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cpu import measure_call

from llm_eval.backends.transformers import TransformersModel
from llm_eval.records import Request, Response, Shot
from llm_eval.settings import Settings
from llm_eval.specs import Generation, ModelSpec


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    backend = {"kind": "transformers", "path": job["model"], "dtype": job["dtype"], "device": "cpu", **job["backend"]}
    spec = ModelSpec.model_validate({"name": "bench", "backend": backend, "chat": False})
    generation = Generation(max_tokens=job["new_tokens"], stop=tuple(job["stop"]))
    model = TransformersModel.open(spec, None, "bench", Settings(root="", catalogs=(), datasets=(), models=()))
    list(model.answer(_requests(job["warm_up"]), generation))
    requests = _requests(job["asks"])
    responses, cost = measure_call(lambda: list(model.answer(requests, generation)))
    model.close()
    by_id = {r.request_id: r for r in responses}
    if errors := [r.error for r in responses if r.error is not None]:
        raise SystemExit(f"{len(errors)} of {len(responses)} requests failed, the first: {errors[0]}")
    answers = [_answer(by_id[r.id]) for r in requests]
    reuse = {name: sum(getattr(r, name) for r in responses) for name in ("prefill_tokens", "reused_tokens")}
    prompt_tokens = [by_id[r.id].input_tokens for r in requests]
    Path(sys.argv[2]).write_text(
        json.dumps({"cost": cost, "answers": answers, "prompt_tokens": prompt_tokens, "tokens": reuse})
    )


def _answer(response: Response) -> str | list[float]:
    return [x.logprob for x in response.likelihoods] if response.text is None else response.text


def _requests(asks: list[dict[str, Any]]) -> list[Request]:
    return [
        Request(
            id=f"{number}",
            sample_id=f"{number}",
            kind="choices" if ask["continuations"] else "generate",
            header=ask["header"],
            shots=tuple(Shot(user, assistant) for user, assistant in ask["shots"]),
            text=ask["text"],
            continuations=tuple(ask["continuations"]),
        )
        for number, ask in enumerate(asks)
    ]


if __name__ == "__main__":
    main()
