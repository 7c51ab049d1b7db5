import re

import pytest
import yaml

from llm_eval.catalog import Catalog, parse
from llm_eval.check import mistakes
from llm_eval.errors import InvalidSpec
from llm_eval.human.rounds import users_of
from llm_eval.specs import Human, SuiteSpec
from tests.conftest import CHECKOUT

ASK = {"kind": "preference"}


@pytest.mark.parametrize(
    ("human", "told"),
    [
        ({"ask": {"kind": "prefrence"}}, "ask"),
        (
            {"ask": {"kind": "rating", "low": 5, "high": 5}},
            "the scale's low end must lie below its high end, by 20 at mo",
        ),
        ({"ask": {"kind": "rating", "low": 0, "high": 100}}, "by 20 at most"),
        ({"ask": ASK, "datasets": ["colors"]}, "human.datasets: colors: not among the suite's datasets"),
        ({"ask": ASK, "models": ["ada", "eve"]}, "human.models: eve: not among the suite's models"),
        ({"ask": ASK, "models": ["ada"]}, "a preference between models needs two of them, or against: baseline"),
        ({"ask": ASK, "raters": 2, "users": ["eve"]}, "raters: 2 needs at least 2 users, so that nobody answers twice"),
        ({"ask": ASK, "users": ["eve", "eve"]}, "named twice: eve"),
        ({"ask": ASK, "schedule": "weekly"}, "cron expression of five fields"),
        ({"ask": ASK, "samples": 0}, "samples"),
        ({"ask": ASK, "hours": 0}, "hours"),
    ],
)
def test_a_mistake_in_what_people_are_asked_is_named(house, human, told):
    house.suite(name="panel", models=["ada", "bob"], human=human)

    with pytest.raises(InvalidSpec, match=r"panel\.yaml") as refused:
        house.catalog.suite("panel")

    assert told in str(refused.value)


def test_a_suite_that_asks_people_passes_the_check(house):
    assert mistakes(Catalog(house.settings.catalogs)) == []


def test_several_raters_of_an_item_are_different_people():
    human = Human(ask=ASK, raters=2, users=("ada", "bob", "eve"))

    asked = [[users_of(human, position, rater) for rater in (1, 2)] for position in range(1, 7)]

    assert all(len(first) == len(second) == 1 and first != second for first, second in asked)
    assert {user for both in asked for (user,) in both} == {"ada", "bob", "eve"}


def test_one_rater_may_be_any_of_the_users():
    assert users_of(Human(ask=ASK, users=("ada", "bob")), 1, 1) == ("ada", "bob")
    assert users_of(Human(ask=ASK), 1, 1) == ()


def test_the_suite_of_the_docs_is_valid():
    (block,) = re.findall(
        r"```yaml\n(.*?)```", (CHECKOUT / "docs" / "humans.md").read_text(encoding="utf-8"), re.DOTALL
    )

    suite = parse(SuiteSpec, yaml.safe_load(block), "docs/humans.md")

    assert (suite.human.samples, suite.human.raters, suite.human.users) == (10, 2, ("alice", "bob"))
