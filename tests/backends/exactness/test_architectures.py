"""Models that compute something their own way: the same answers as read plainly, whichever path they take."""

import json
import random
import shutil
from pathlib import Path

import pytest

from llm_eval.errors import LlmEvalError
from llm_eval.specs import Generation
from tests.backends.exactness import questions
from tests.backends.exactness.backend import opened
from tests.backends.exactness.comparison import best, differences
from tests.backends.exactness.reference import Reference
from tests.backends.exactness.saving import vary
from tests.backends.exactness.vocabularies import tokenizer
from tests.backends.exactness.zoo import CONTEXT_TOKENS, SPECIAL, ZOO

_RNG = random.Random(6)
MIXED = (
    *questions.letters(_RNG)[4:9],
    *questions.clozes(_RNG)[:3],
    *questions.overlapping(_RNG)[:1],
    *questions.trees(_RNG)[:4],
    *questions.lone(_RNG)[::6],
    *questions.texts(seed=6)[::3],
    *questions.prompts(seed=6, count=4),
)
GENERATION = Generation(max_tokens=8, stop=("\n",))
# Most of them run on the plain path whatever is asked for; of the others that path is asked too.
PLAIN_TOO = ("mistral-wide-window", "mixtral", "qwen2-moe", "bloom", "opt")
PATHS = [(name, path) for path, names in (("packed", SPECIAL), ("plain", PLAIN_TOO)) for name in names]


@pytest.mark.parametrize(("name", "attention"), PATHS)
def test_every_architecture_answers_as_read_plainly(asked, expected, name, attention):
    context = ZOO[name].context_tokens
    should = expected(name, MIXED, GENERATION, context_tokens=context)
    assert len({answer.text for answer in should.values()}) >= 6
    assert len({best(answer) for answer in should.values() if answer.likelihoods}) >= 3
    found = asked(name, MIXED, GENERATION, attention=attention, batch_tokens=1000, context_tokens=context)
    assert differences(found, MIXED, should) == []


def test_code_that_a_model_brings_along_answers_as_read_plainly(asked, own_code):
    plain = Reference(own_code)
    should = {request.id: plain.answer(request, GENERATION) for request in MIXED}
    for budget in (16, 1000):
        found = asked(
            own_code, MIXED, GENERATION, trust_remote_code=True, context_tokens=CONTEXT_TOKENS, batch_tokens=budget
        )
        assert differences(found, MIXED, should) == []


@pytest.fixture
def own_code(tmp_path, monkeypatch) -> Path:
    """A model with `modeling_own.py` beside its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("modeling_own.py"), folder)
    words = tokenizer("gpt2")
    words.save_pretrained(folder)
    code = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    config = {"model_type": "own", "vocab_size": len(words), "auto_map": code}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(7)
    network = AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(folder, trust_remote_code=True), trust_remote_code=True
    )
    vary(network)
    network.save_pretrained(folder)
    return folder


def test_a_model_that_sees_what_comes_after_is_refused(tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    words = tokenizer("unigram")
    BertForMaskedLM(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    with pytest.raises(LlmEvalError, match="model 'tiny'"):
        opened(tmp_path)
