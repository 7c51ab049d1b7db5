"""A round that is picked, and what people say in it."""

from llm_eval import results
from llm_eval.human import rounds
from llm_eval.human.records import Answer
from tests.builders import NOON

RATING = {"kind": "rating", "low": 1, "high": 5}
MODELS = ("ada", "bob", "colours", "replay")


def start(house, seed="seed", name="round-1", now=NOON):
    return rounds.start(house.settings, house.panel, name, seed, now)


def answer(made, item, said, rater="eve"):
    return Answer(item.id, rater, said, "", NOON.isoformat(), "airflow", NOON.isoformat())


def record(made, *answers, label="all"):
    rounds.add_answers(made, label, answers)


def prefers(made, model):
    """For each item the side on which a model stands."""
    keys = {key.item_id: key for key in made.keys}
    return [("first", "second")[keys[item.id].models.index(model)] for item in made.items]


def human_rows(house, **filters):
    return [row for row in results.current(results.summary(house.settings.root, **filters)) if row.judge == "human"]
