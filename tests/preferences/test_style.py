"""Style control against Arena-Hard's own functions (tests/golden/battles.yaml) and against known effects of style."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_eval.errors import InvalidData, UnknownName
from llm_eval.preferences.battles import Battle
from llm_eval.preferences.bradley_terry import win_rates_against
from llm_eval.preferences.style import Style, style_controlled_win_rates, style_of
from tests.preferences.test_bradley_terry import GOLDEN, arena_hard_battles

ANSWER = """# Title
Some **bold** and __bold__ text, no ** across
lines **.
####### not a header
#hashtag
## Second
- one
  * two
+ three
-four
 12. ordered
3) not ordered
```
# comment
- not a list **nor bold**
```
"""


def test_features_are_counted_outside_of_code():
    assert style_of(ANSWER) == Style(length=len(ANSWER), headers=2, lists=4, bold=2)
    assert style_of(ANSWER, tokens=61).length == 61


@given(st.text(alphabet="#*_-+1. \n\t\ra`", max_size=60))
@settings(deadline=None, database=None, max_examples=500)
def test_features_are_those_that_the_official_patterns_count(text):
    # lmarena/arena-hard-auto, utils/add_markdown_info.py
    for block in re.compile("```([^`]*)```").findall(text):
        if block and text.count(block) > 1:
            return  # the official code takes such a text out wherever it stands
    prose = re.sub("```([^`]*)```", "``````", text)

    found = style_of(text)

    assert found.headers == sum(len(re.findall(rf"^#{{{n}}}\s", prose, re.MULTILINE)) for n in range(1, 7))
    ordered, unordered = (len(re.findall(p, prose, re.MULTILINE)) for p in (r"^\s*\d+\.\s", r"^\s*[-*+]\s"))
    assert found.lists == ordered + unordered
    assert found.bold == len(re.findall(r"\*\*[^*\n]+\*\*", prose)) + len(re.findall(r"__[^_\n]+__", prose))


def test_an_answer_of_blank_lines_or_markup_alone_takes_no_long_time():
    for text in ("\n" * 300_000, " " * 300_000, "**a" * 100_000, "```a" * 100_000, "1" * 300_000):
        assert style_of(text).length == len(text)


def test_ratings_and_coefficients_as_arena_hard_computes_them():
    case = GOLDEN["arena_hard"]
    styles = {(str(question), player): Style(*counts) for question, player, *counts in case["styles"]}

    found = style_controlled_win_rates("anchor", arena_hard_battles(), styles, centred=True, resamples=20)

    assert found.ratings == pytest.approx(case["style_controlled"]["ratings"], abs=1e-3)
    assert found.coefficients == pytest.approx(case["style_controlled"]["coefficients"], abs=1e-4)
    for player in ("one", "two"):
        odds = 10 ** ((found.ratings[player] - 1000) / 400)
        assert found.win_rates[player].value == pytest.approx(odds / (1 + odds))


def preferring_length(count, gain):
    """A judge who takes the longer answer, of a model that is no better and, with `gain` above 1, mostly longer."""
    draw = random.Random(2)
    battles, styles = [], {}
    for i in range(count):
        baseline = draw.randint(200, 800)
        own = int(baseline * gain * draw.uniform(0.5, 1.5))
        styles[str(i), "model"], styles[str(i), "anchor"] = Style(own, 0, 0, 0), Style(baseline, 0, 0, 0)
        battles.append(Battle(str(i), "model", "anchor", draw.random() * 0.4 + 0.6 * (own > baseline)))
    return battles, styles


def test_a_win_rate_owed_to_length_goes_away_where_the_difference_is_taken_as_none():
    battles, styles = preferring_length(300, gain=1.3)
    raw = win_rates_against("anchor", battles, resamples=50)["model"].value

    plain = style_controlled_win_rates("anchor", battles, styles, centred=False, resamples=50)
    centred = style_controlled_win_rates("anchor", battles, styles, centred=True, resamples=50)

    assert raw > 0.6
    assert plain.win_rates["model"].value == pytest.approx(0.5, abs=0.06)
    assert plain.win_rates["model"].ci_high < raw
    assert centred.win_rates["model"].value == pytest.approx(raw, abs=0.06)  # the trap that the docstring names
    assert list(plain.coefficients) == ["length"]
    assert plain.coefficients["length"] > 0.5


def test_without_differences_of_style_there_is_nothing_to_control():
    battles = [Battle(str(i), "model", "anchor", float(i % 4 > 0)) for i in range(400)]
    styles = {(str(i), player): Style(100, 1, 2, 3) for i in range(400) for player in ("model", "anchor")}

    found = style_controlled_win_rates("anchor", battles, styles, centred=False, resamples=50)

    assert found.coefficients == {}
    assert found.win_rates["model"].value == pytest.approx(0.75, abs=0.002)


def test_who_always_wins_has_a_finite_rating_and_an_interval():
    battles = [Battle(str(i), "model", "anchor", 1.0) for i in range(30)]
    styles = {(str(i), p): Style(100 + i * (p == "model"), 1, 2, 3) for i in range(30) for p in ("model", "anchor")}

    found = style_controlled_win_rates("anchor", battles, styles, centred=False, resamples=50)

    assert 1000 < found.ratings["model"] < 3000
    assert 0.9 < found.win_rates["model"].ci_low < found.win_rates["model"].value < 1


def test_bad_input_is_named():
    battles, styles = preferring_length(5, 1.0)
    with pytest.raises(UnknownName, match="'other' is not known"):
        style_controlled_win_rates("other", battles, styles, centred=False)
    del styles["3", "model"]
    with pytest.raises(InvalidData, match="no style of the answer to question '3' by 'model'"):
        style_controlled_win_rates("anchor", battles, styles, centred=False)
