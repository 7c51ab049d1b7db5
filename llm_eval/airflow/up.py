"""`make up`: the whole platform on this machine, with its UI, until Ctrl-C. `python -m llm_eval.airflow.up`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from llm_eval import settings
from llm_eval.airflow.home import USER
from llm_eval.airflow.stack import Stack
from llm_eval.errors import LlmEvalError

PORT = 8080  # if it is free


def airflow_home() -> Path:
    """Where `make up` and `make demo` keep Airflow's database and logs: AIRFLOW_HOME, else var/airflow."""
    return Path(os.environ.get("AIRFLOW_HOME") or settings.HOME / "var" / "airflow")


def unwind_on_signals() -> None:
    """Makes SIGTERM unwind like Ctrl-C does, so that the stack is stopped; and Ctrl-C too, which a shell's background
    jobs inherit as ignored."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


def main() -> int:
    console = Console(highlight=False)
    unwind_on_signals()
    try:
        with Stack(airflow_home(), port=PORT, triggerer=True, tell=console.print) as stack:
            console.print(f"\n  Airflow      {stack.url}\n  user         {USER}\n  password     {stack.password}")
            console.print(
                f"  logs         {stack.home}\n\nDAGs are paused until you un-pause them. Ctrl-C stops everything."
            )
            while True:
                time.sleep(1.0)
                for name in stack.revive():
                    console.print(f"[red]Airflow's {name} ended by itself[/red] and was started again")
    except KeyboardInterrupt:
        console.print("stopped")
        return 0
    except LlmEvalError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
