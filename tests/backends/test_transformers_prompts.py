"""What the model reads: tokens, chat templates, examples that are dropped."""

import pytest

from llm_eval.backends.transformers.encoding import Window, windows
from llm_eval.backends.transformers.tokens import Tokens, Unanswerable
from llm_eval.records import Message, Shot


@pytest.fixture
def tokenizer(models):
    """tokenizer(name): as AutoTokenizer loads it."""
    from transformers import AutoTokenizer

    return lambda name: AutoTokenizer.from_pretrained(models / name)


@pytest.fixture
def metaspace():
    """A Llama-2 style tokenizer: words begin with ▁, decoding drops the first blank."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", "▁", "▁the", "▁whale", "whale", "▁▁", "a", "▁a"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first", split=True)
    return Tokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"))


def test_a_text_gets_the_bos_that_its_tokenizer_adds(tokenizer):
    bare = tokenizer("llama").encode("Water boils")
    assert Tokens(tokenizer("llama")).of_text("Water boils") == bare
    assert Tokens(tokenizer("llama-bos")).of_text("Water boils") == [1, *bare]


def test_an_end_that_the_tokenizer_appends_is_left_out_of_prompts(tokenizer):
    from tokenizers import processors

    ending = tokenizer("llama")
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert ending.encode("Water")[-1] == 2
    assert Tokens(ending).of_text("Water") == [1, *tokenizer("llama").encode("Water")]


# lm-evaluation-harness, TemplateLM._encode_pair: the context's trailing blanks move to the continuation.
@pytest.mark.parametrize("name", ["llama", "llama-bos", "gpt2"])
@pytest.mark.parametrize(
    ("prompt", "continuation"),
    [("Answer:", " whale"), ("Answer: ", "whale"), ("Water\n\n", "melts at"), ("答案是", "鲸鱼")],
)
def test_a_pair_is_tokenised_together_and_split_after_the_prompt(tokenizer, name, prompt, continuation):
    encode = tokenizer(name).encode
    pair = Tokens(tokenizer(name)).pair(prompt, continuation)
    before = encode(prompt.rstrip())
    assert pair.prompt == before
    assert pair.continuation == encode(prompt + continuation)[len(before) :]


def test_trailing_blanks_of_the_prompt_are_scored_with_the_continuation(tokenizer):
    tokens = Tokens(tokenizer("llama"))
    assert tokens.pair("Answer: ", "whale") == tokens.pair("Answer:", " whale")


def test_a_continuation_that_vanishes_into_the_prompts_last_token_is_tokenised_alone(tokenizer):
    encode = tokenizer("llama").encode
    word = next(w for w in tokenizer("llama").get_vocab() if w.isascii() and w.isalpha() and len(w) == 2)
    assert len(encode(word)) == len(encode(word[0])) == 1
    assert Tokens(tokenizer("llama")).pair(word[0], word[1]) == (encode(word[0]), encode(word[1]))


@pytest.mark.parametrize(("name", "first"), [("llama", 1), ("llama-bos", 1), ("gpt2", 0)])
def test_an_empty_prompt_is_a_bos(tokenizer, name, first):
    bare = tokenizer(name).encode(" whale", add_special_tokens=False)
    assert Tokens(tokenizer(name)).pair("", " whale") == ([first], bare)


def test_a_continuation_without_tokens_cannot_be_scored(tokenizer):
    with pytest.raises(Unanswerable, match="the continuation '' has no tokens"):
        Tokens(tokenizer("llama")).pair("Answer:", "")


def test_a_conversation_is_what_the_chat_template_says_with_no_second_bos(tokenizer):
    tokens = Tokens(tokenizer("llama-bos"))
    text = tokens.conversation([Message("system", "Be brief."), Message("user", "Why?")])
    assert (
        text == "<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokens.of_bare(text).count(1) == 1


def test_the_template_keeps_its_blanks_and_the_assistants_turn_begins_without_one(tokenizer):
    tokens, encode = Tokens(tokenizer("llama")), tokenizer("llama").encode
    assert tokens.chat_pair("<|im_start|>assistant\n", " A") == (encode("<|im_start|>assistant\n"), encode("A"))


def test_a_prompt_does_not_depend_on_the_day(tokenizer):
    dated = tokenizer("llama")
    dated.chat_template = "\n {{ strftime_now('%d %b %Y') }}: {{ messages[0].content }}"
    assert Tokens(dated).conversation([Message("user", "hi")]) == "\n 26 Jul 2024: hi"


def test_a_conversation_that_the_template_refuses_is_an_error_of_its_own_request(ask, conversation_of):
    answers = ask(
        "llama",
        [
            conversation_of("good", "generate", ("user", "Why?")),
            conversation_of("bad", "generate", ("user", "Why?"), ("tool", "because")),
        ],
        {"max_tokens": 2},
        chat=True,
    )
    assert "refuses this conversation (turns: user, tool): no tools here" in answers["bad", 0].error
    assert answers["good", 0].error is None


def test_decoding_keeps_the_blank_before_the_first_word(metaspace):
    assert metaspace.decode([4], [5]) == " whale"
    assert metaspace.decode([4], [6]) == "whale"
    assert metaspace.decode([], [5]) == "whale"


def test_decoding_leaves_control_tokens_out(tokenizer):
    tokens = Tokens(tokenizer("llama"))
    assert tokens.decode(tokens.of_bare("the<|im_start|>"), tokens.of_bare(" whale<|im_end|>")) == " whale"


def test_examples_are_dropped_from_the_end_until_prompt_and_answer_fit(ask, request_of, shots, tokenizer):
    def tokens(count: int) -> int:
        return len(tokenizer("llama").encode("".join(s.user + s.assistant for s in shots[:count]) + "Water?"))

    asked = request_of("a", "generate", "Water?", shots=shots)
    exact = ask("llama", [asked], {"max_tokens": 10}, context_tokens=tokens(2) + 10)["a", 0]
    tight = ask("llama", [asked], {"max_tokens": 10}, context_tokens=tokens(2) + 9)["a", 0]
    assert (exact.shots, exact.input_tokens) == (2, tokens(2))
    assert (tight.shots, tight.input_tokens) == (1, tokens(1))


def test_an_answer_with_dropped_examples_is_that_of_the_prompt_without_them(ask, request_of, shots):
    continuations = (" A", " the whale")
    dropped = ask("llama", [request_of("a", "choices", "Q:", continuations, shots=shots)], context_tokens=64)["a", 0]
    assert 0 < dropped.shots < 3
    kept = request_of("a", "choices", "Q:", continuations, shots=shots[: dropped.shots])
    assert ask("llama", [kept])["a", 0].likelihoods == dropped.likelihoods


def test_every_continuation_sees_the_examples_that_the_longest_leaves_room_for(ask, request_of, shots):
    short, long = " A", " the whale" * 8
    alone = ask("llama", [request_of("a", "choices", "Q:", (short,), shots=shots)], context_tokens=100)["a", 0]
    both = ask("llama", [request_of("a", "choices", "Q:", (short, long), shots=shots)], context_tokens=100)["a", 0]
    assert both.shots < alone.shots
    assert both.likelihoods[0] != alone.likelihoods[0]


@pytest.mark.parametrize("kind", ["generate", "choices", "perplexity"])
def test_a_prompt_too_long_without_any_example_is_an_error_and_never_cut(ask, request_of, kind, tokenizer):
    text = "Water boils. " * 20
    continuations = (" A", " B") if kind != "generate" else ()
    long = request_of("long", kind, text, continuations, shots=(Shot("u", "a"),))
    short = request_of("short", kind, "Water", continuations)
    answers = ask("llama", [long, short], {"max_tokens": 4}, context_tokens=40)
    assert answers["long", 0].finish_reason == "error"
    needed = len(tokenizer("llama").encode(text + continuations[0] if continuations else text))
    assert answers["long", 0].error.startswith(f"prompt of {needed} tokens does not fit the context of 40")
    assert answers["short", 0].error is None


def test_without_a_limit_in_the_spec_the_models_own_holds(ask, request_of):
    answer = ask("llama", [request_of("a", "generate", "Water")], {"max_tokens": 192})["a", 0]
    assert "does not fit the context of 192 beside max_tokens 192" in answer.error


def test_chat_examples_are_turns_and_are_dropped_alike(ask, conversation_of, shots, tokenizer):
    asked = conversation_of("a", "generate", ("user", "Water?"), shots=shots)
    answer = ask("llama", [asked], {"max_tokens": 4}, chat=True, context_tokens=90)["a", 0]
    turns = [turn for s in shots[: answer.shots] for turn in (("user", s.user), ("assistant", s.assistant))]
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in [*turns, ("user", "Water?")])
    assert 0 < answer.shots < 3
    assert answer.input_tokens == len(tokenizer("llama").encode("<s>" + text + "<|im_start|>assistant\n"))


def test_a_tokenizer_of_other_weights_is_an_error_before_the_model_sees_its_tokens(ask, request_of, copy_of, models):
    folder = copy_of("llama")
    from transformers import AutoTokenizer

    larger = AutoTokenizer.from_pretrained(folder)
    larger.add_tokens(["<new>"])
    larger.save_pretrained(folder)
    requests = [request_of("new", "choices", "<new>", (" A",)), request_of("old", "choices", "Q:", (" A",))]
    answers = ask(models / "llama", requests, tokenizer_path=str(folder))
    assert "token 360 is outside the model's vocabulary of 360" in answers["new", 0].error
    assert answers["old", 0].error is None


def test_a_request_without_continuations_is_an_error(ask, request_of):
    assert "no continuations" in ask("llama", [request_of("a", "choices", "Q:")])["a", 0].error


# lm-evaluation-harness, tests/test_utils.py, test_get_rolling_token_windows_v1: prefix -100, 34 tokens, windows of 10.
def test_windows_score_every_token_once():
    assert windows([-100, *range(34)], 10) == [
        Window([-100, *range(9)], list(range(10))),
        Window(list(range(9, 19)), list(range(10, 20))),
        Window(list(range(19, 29)), list(range(20, 30))),
        Window(list(range(23, 33)), list(range(30, 34))),
    ]


@pytest.mark.parametrize("context_tokens", [None, 3, 4, 50])
def test_a_text_that_fits_is_one_window(context_tokens):
    assert windows([7, 8, 9, 10], context_tokens) == [Window([7, 8, 9], [8, 9, 10])]
