"""A judge whose weights lie on this machine is asked through the same engine as every local model."""

from __future__ import annotations

import pytest

from llm_eval.backends.transformers import TransformersModel
from llm_eval.judging.asks import asks_of, generation_of
from llm_eval.layout import Layout
from llm_eval.stages import StageContext
from llm_eval.stages.responses import read_some
from llm_eval.stages.scored import read_scored
from llm_eval.stages.shown import shown_to
from tests.backends.tiny_models import save_llama

WEIGHTS = {"kind": "transformers", "path": "judge", "dtype": "float32"}


@pytest.mark.slow
def test_a_local_model_judges_through_the_engine(court):
    place = court("right 0", "wrong", "right 2")
    save_llama(place.settings.models[0] / "judge", adds_bos=False)
    place.house.model(name="grader-model", backend=WEIGHTS, chat=True)
    place.house.judge(generation={"max_tokens": 8}, ask_again=None)
    run, address = place.planned()
    (judge,) = run.judges

    place.stages(address, "fetch", "validate", "render", "infer", "score")
    counts = place.stages(address, "judge")["judge"]

    assert (counts["judgements"], counts["asked"]) == (3, 3)
    assert counts["prefill_tokens"] > 0  # the engine's own figure
    home = Layout(place.settings.root, run)
    shown = shown_to(judge.spec, StageContext(run, home, place.settings), read_scored(home))
    requests = [ask.request for subject in shown.subjects for ask in asks_of(subject, judge.spec, True)]
    backend = TransformersModel.open(judge.model, None, "colours", place.settings)
    alone = {r.request_id: r.text for r in backend.answer(requests, generation_of(judge.spec))}
    backend.close()
    kept = read_some(home.replies(judge), {request.id for request in requests})
    assert {request_id: reply.text for request_id, reply in kept.items()} == alone
