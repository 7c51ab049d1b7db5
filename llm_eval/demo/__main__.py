"""`python -m llm_eval.demo`: trains the demo model, unless it is trained already."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from llm_eval.demo.recipe import Recipe
from llm_eval.demo.train import is_trained, train
from llm_eval.demo.world import write_benchmarks
from llm_eval.errors import LlmEvalError
from llm_eval.settings import HOME

SECONDS_BETWEEN_LINES = 5.0


def demo(
    output: Annotated[Path, typer.Option(help="Folder of the checkpoints.")] = HOME / "var" / "models" / "demo",
    seed: Annotated[int, typer.Option(help="Another seed, another model.")] = 0,
    steps: Annotated[int, typer.Option(help="Length of the training.")] = 240,
    # On a busy machine two threads wait for each other at full load: more seconds and several times the work.
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; a small model gains little from more.")] = 1,
    write_data: Annotated[bool, typer.Option(help="Write the benchmark files of include/data/demo instead.")] = False,
) -> None:
    """Train a tiny Llama with four checkpoints, in about a minute; the catalog calls it `demo`."""
    if write_data:
        write_benchmarks(HOME / "include" / "data" / "demo")
        return
    recipe = Recipe(seed=seed, steps=steps)
    names = ", ".join(folder.name for folder in recipe.checkpoint_folders(output).values())
    if is_trained(recipe, output):
        typer.echo(f"demo model: already trained, {output} has {names}")
        return
    typer.echo(f"demo model: training {steps} steps on {threads} CPU thread(s), about a minute")
    began = time.monotonic()
    train(recipe, output, threads, _ProgressLines(recipe))
    typer.echo(f"demo model: trained in {time.monotonic() - began:.0f} s, {output} has {names}")


class _ProgressLines:
    """Prints a line every few seconds, at each checkpoint, and never more than one for a step."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.began: float | None = None
        self.printed = 0.0

    def __call__(self, step: int, loss: float) -> None:
        now = time.monotonic()
        if self.began is None:
            self.began = now  # the first step warms up, and would spoil the forecast
        is_checkpoint = step in self.recipe.checkpoint_steps
        if step > 1 and (is_checkpoint or now - self.printed >= SECONDS_BETWEEN_LINES):
            left = (now - self.began) / (step - 1) * (self.recipe.steps - step)
            saved = "  checkpoint written" if is_checkpoint else ""
            typer.echo(f"  step {step:3d}/{self.recipe.steps}  loss {loss:.2f}  {left:3.0f} s left{saved}")
            self.printed = now


def main() -> None:
    try:
        typer.run(demo)
    except LlmEvalError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
