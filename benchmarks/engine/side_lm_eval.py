"""lm-evaluation-harness's side of the in-process comparison, run by compare.py in that tool's own environment.

    python side_lm_eval.py JOB.json ANSWERS.json

Only the model's own call is measured: reading tasks and building prompts are left out, in the harness's favour.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cpu import measure_call
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    model = HFLM(pretrained=job["model"], dtype=job["dtype"], batch_size=job["batch"], device="cpu")
    _answers(model, job, job["warm_up"])
    answers, cost = measure_call(lambda: _answers(model, job, job["asks"]))
    Path(sys.argv[2]).write_text(json.dumps({"cost": cost, "answers": answers}))


def _answers(model: Any, job: dict[str, Any], asks: list[dict[str, Any]]) -> list[Any]:
    """The text generated for each prompt, or the log-likelihoods of its continuations."""
    prompts = [ask["header"] + "".join(u + a for u, a in ask["shots"]) + ask["text"] for ask in asks]
    if not asks[0]["continuations"]:
        decoding = {"until": job["stop"], "do_sample": False, "temperature": 0.0, "max_gen_toks": job["new_tokens"]}
        wanted = [Instance("generate_until", {}, (prompt, decoding), idx=0) for prompt in prompts]
        return model.generate_until(wanted, disable_tqdm=True)
    wanted = [
        Instance("loglikelihood", {}, (prompt, continuation), idx=number)
        for prompt, ask in zip(prompts, asks, strict=True)
        for number, continuation in enumerate(ask["continuations"])
    ]
    found = iter(model.loglikelihood(wanted, disable_tqdm=True))
    return [[next(found)[0] for _ in ask["continuations"]] for ask in asks]


if __name__ == "__main__":
    main()
