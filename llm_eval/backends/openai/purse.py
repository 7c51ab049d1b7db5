"""A budget: what was spent on a run's responses by everybody, as far as it can be known, and whether more may be."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from llm_eval import tables
from llm_eval.backends.workplace import Workplace
from llm_eval.errors import BudgetSpent, StorageError
from llm_eval.records import LATER_OF_RESPONSES, Response
from llm_eval.specs import Budget
from llm_eval.storage import files

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 5.0


@dataclass(frozen=True, slots=True)
class Spent:
    tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.cost_usd + other.cost_usd)

    def reaches(self, budget: Budget) -> bool:
        dear = budget.max_cost_usd is not None and self.cost_usd >= budget.max_cost_usd
        return dear or (budget.max_tokens is not None and self.tokens >= budget.max_tokens)

    def of(self, budget: Budget) -> str:
        """In words."""
        said = []
        if budget.max_cost_usd is not None:
            said.append(f"{self.cost_usd:.6g} of {budget.max_cost_usd:g} USD")
        if budget.max_tokens is not None:
            said.append(f"{self.tokens:,} of {budget.max_tokens:,} tokens")
        return " and ".join(said)


class Purse:
    """Counts what this process spends, and every few seconds what the parts of others say. Without a budget it is never
    empty.

    A part is counted whole, answers that were asked for again later included: they were paid for.
    """

    def __init__(self, budget: Budget | None, place: Workplace | None) -> None:
        self.budget, self._place = budget, place
        self._own = self._others = Spent()
        self._counted: set[str] = set()
        self._closed = threading.Event()
        if budget is not None and place is not None:
            self._look()
            threading.Thread(target=self._look_now_and_then, name="budget", daemon=True).start()

    def pay(self, tokens: int, cost_usd: float | None) -> None:
        self._own += Spent(tokens, cost_usd or 0.0)

    @property
    def spent(self) -> Spent:
        return self._own + self._others

    @property
    def is_empty(self) -> bool:
        return self.budget is not None and self.spent.reaches(self.budget)

    def shortage(self, owner: str, left: int) -> BudgetSpent:
        """What to raise when so many answers are left to ask for."""
        assert self.budget is not None  # or nothing would be left
        name = "max_tokens" if self.budget.max_cost_usd is None else "max_cost_usd"
        return BudgetSpent(
            f"{owner}: the budget is spent, {self.spent.of(self.budget)} (all responses of this fingerprint together), "
            f"with {left} answers left to ask for. What was answered stays: a run with a higher budget goes on from "
            f"there (backend.budget in the model's YAML, or --set model.backend.budget.{name}=…)"
        )

    def close(self) -> None:
        self._closed.set()

    def _look_now_and_then(self) -> None:
        while not self._closed.wait(SECONDS_BETWEEN_LOOKS):
            try:
                self._look()
            except StorageError as error:
                logger.warning("%s What others spend is counted later.", error)

    def _look(self) -> None:
        assert self._place is not None
        for part in files(self._place.folder, ".parquet"):
            if "/part-" not in part or self._place.is_own(part) or part in self._counted:
                continue
            rows = tables.read(part, Response, LATER_OF_RESPONSES)
            tokens = sum(row.input_tokens + row.output_tokens for row in rows)
            self._others += Spent(tokens, sum(row.cost_usd or 0.0 for row in rows))
            self._counted.add(part)
