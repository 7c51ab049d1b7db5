"""What decides the demo model's weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from llm_eval.demo.tokenizer import CHAT_TEMPLATE
from llm_eval.demo.world import animal_lessons, sum_lessons
from llm_eval.errors import InputError
from llm_eval.fingerprint import fingerprint

FEWEST_STEPS = 10


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes and schedule of one training. Raises InputError for fewer steps than four checkpoints need."""

    seed: int = 0
    steps: int = 240
    sums_per_step: int = 40
    animal_conversations_per_step: int = 8
    animal_turns: int = 3  # as many as a prompt with two examples has
    peak_learning_rate: float = 3e-3
    warmup_steps: int = 20
    weight_decay: float = 0.1
    hidden: int = 192
    layers: int = 3
    heads: int = 4
    mlp: int = 512
    initial_std: float = 0.06  # with the usual 0.02 the facts about animals take several times as many steps

    def __post_init__(self) -> None:
        if self.steps < FEWEST_STEPS:
            raise InputError(f"--steps {self.steps} is too few for four checkpoints; {FEWEST_STEPS} is the least")

    @property
    def checkpoint_steps(self) -> tuple[int, ...]:
        """The first before much is learned, the last at the end."""
        return tuple(self.steps * tenths // 10 for tenths in (1, 4, 7, 10))

    def checkpoint_folders(self, output: Path) -> dict[int, Path]:
        """Step → the folder of its checkpoint."""
        return {step: output / f"step-{step:04d}" for step in self.checkpoint_steps}

    def fingerprint(self) -> str:
        """Changes with whatever changes the weights, but for the machine and its number of threads."""
        return fingerprint(asdict(self), CHAT_TEMPLATE, sum_lessons(), animal_lessons())

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, a plateau, then linear decay over the last 60 % of the steps; `step` counts from 1."""
        warmup = step / self.warmup_steps
        decay = max(0.02, (self.steps - step) / (0.6 * self.steps))
        return self.peak_learning_rate * min(1.0, warmup, decay)
