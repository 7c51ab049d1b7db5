import pytest
from markdown_it import MarkdownIt

from llm_eval.human.records import Item
from llm_eval.human.showing import body, options, plain, subject, verbatim
from llm_eval.specs import Human

PREFERENCE = Human(ask={"kind": "preference"}, instructions="Prefer the *right* one.")
RATING = Human(ask={"kind": "rating", "low": 1, "high": 3})


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "```\nx\n```",
        "`",
        "``\n``` ````",
        "a ` b",
        "    if x:\n        return  1",
        "",
        "a\n\nb\n",
        "# heading\n- list\n| a | b |\n|---|---|\n===\n~~~",
        "<script>alert(1)</script>\n![x](http://evil.example/x.png)\nhttp://evil.example www.evil.example",
        "\\",
        " `x` ",
    ],
)
def test_markdown_shows_a_text_as_it_is_and_nothing_else(text):
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(verbatim(text))

    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    spans, breaks = tokens[1].children[::2], tokens[1].children[1::2]
    assert {token.type for token in spans} == {"code_inline"}
    assert {token.type for token in breaks} <= {"hardbreak"}
    shown = "\n".join(token.content for token in spans).replace("\N{NO-BREAK SPACE}", " ")
    assert shown == "\n".join(line or " " for line in text.split("\n"))


def test_indentation_is_kept_where_html_would_merge_blanks():
    assert verbatim("  a  b c") == "`\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}a\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}b c`"


def test_control_characters_and_what_turns_the_direction_of_writing_are_shown():
    assert plain("a\x00\x1b[2J\u202eb\r\nc\rd\te") == "a␀␛[2J\ufffdb\nc\nd\te"


def test_a_pair_is_shown_with_instructions_question_and_both_answers():
    item = Item("i", 2, "Why?", ("Because.", " "))

    assert subject(item, PREFERENCE, 9) == "Item 2 of 9: which answer is better?"
    assert body(item, PREFERENCE) == (
        "Prefer the *right* one.\n\n**Question**\n\n`Why?`\n\n**Answer 1**\n\n`Because.`\n\n"
        "**Answer 2**\n\n*The answer is empty.*\n"
    )


def test_a_rating_offers_each_number_of_its_scale():
    assert list(options(RATING)) == ["1", "2", "3", "Skip"]
    assert subject(Item("i", 1, "", ("",)), RATING, 1).endswith("how good is the answer, from 1 (worst) to 3 (best)?")
