"""From lessons to the tensors of one training step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_eval.demo.recipe import Recipe
from llm_eval.demo.tokenizer import ASSISTANT_OPENS, END, USER_OPENS
from llm_eval.demo.world import Lesson, animal_lessons, sum_lessons

if TYPE_CHECKING:
    from torch import Tensor

NOT_LEARNED = -100


class Turn(NamedTuple):
    """A question and its answer as token ids. Labels are the answer's ids, and NOT_LEARNED before them."""

    ids: list[int]
    labels: list[int]


class Batch(NamedTuple):
    """Conversations side by side, filled up on the right. Shapes: (conversation, token), int64."""

    ids: Tensor
    labels: Tensor


class Lessons(NamedTuple):
    """Everything that is taught, encoded once. `begin` and `pad` are token ids."""

    sums: list[Turn]
    animals: list[Turn]
    begin: int
    pad: int

    def draw(self, recipe: Recipe, draws: random.Random) -> tuple[Batch, Batch]:
        """One step's sums, each a conversation of its own, and its conversations about several animals.

        Apart, as their lengths differ: padding costs as much as learning.
        """
        sums = [draws.choices(self.sums) for _ in range(recipe.sums_per_step)]
        animals = [
            draws.choices(self.animals, k=recipe.animal_turns) for _ in range(recipe.animal_conversations_per_step)
        ]
        return self._batch(sums), self._batch(animals)

    def _batch(self, conversations: Sequence[Sequence[Turn]]) -> Batch:
        ids = [[self.begin, *(token for turn in turns for token in turn.ids)] for turns in conversations]
        labels = [[NOT_LEARNED, *(label for turn in turns for label in turn.labels)] for turns in conversations]
        return Batch(_filled(ids, self.pad), _filled(labels, NOT_LEARNED))


def _filled(rows: list[list[int]], value: int) -> Tensor:
    import torch

    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def encode_lessons(tokenizer: Any) -> Lessons:
    """All lessons of the world in the tokens of `tokenizer`."""
    return Lessons(
        sums=encode(tokenizer, sum_lessons()),
        animals=encode(tokenizer, animal_lessons()),
        begin=tokenizer.bos_token_id,
        pad=tokenizer.pad_token_id,
    )


def encode(tokenizer: Any, lessons: Sequence[Lesson]) -> list[Turn]:
    """One turn per lesson: what the chat template makes of it, but for the conversation's first token."""
    questions = [f"{USER_OPENS}{lesson.question}{END}{ASSISTANT_OPENS}" for lesson in lessons]
    answers = [f"{lesson.answer}{END}" for lesson in lessons]
    question_ids, answer_ids = (tokenizer(texts, add_special_tokens=False).input_ids for texts in (questions, answers))
    return [
        Turn([*question, *answer], [NOT_LEARNED] * len(question) + answer)
        for question, answer in zip(question_ids, answer_ids, strict=True)
    ]
