"""What a plain run of a transformers model does without, and that what is left out is still there when it is wanted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT
from tests.test_importing import modules_after

LEFT_OUT = {
    "altair",
    "datasets",
    "duckdb",
    "peft",
    "pyspark",
    "scipy.optimize",
    "scipy.stats",
    "sklearn",
    "sqlalchemy",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.checkpoint",
    "torch.distributed.tensor",
}


@pytest.mark.slow
def test_a_run_loads_nothing_that_it_does_not_use(house, models):
    house.model(name="llama", backend={"kind": "transformers", "path": str(models / "llama"), "dtype": "float32"})
    arguments = ["-q", "--catalog", str(house.catalog_folder), "--root", house.settings.root]
    arguments += ["run", "-m", "llama", "-d", "colours", "--set", "dataset.generation.max_tokens=2"]

    loaded = modules_after(
        "import sys\n"
        "from llm_eval import cli, ending\n"
        "ending.end = lambda code: None\n"
        f"sys.argv = ['llm-eval', *{arguments!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code"
    )

    assert {"great_expectations", "torch", "transformers", "pyarrow"} <= loaded
    assert loaded & LEFT_OUT == set()


def said(code: str) -> str:
    beginning = "from llm_eval.backends.transformers import libraries\n"
    done = subprocess.run([sys.executable, "-c", beginning + code], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_compiler_is_there_for_who_compiles():
    compiled = said(
        "libraries.for_models()\n"
        "import torch\n"
        "double = torch.compile(lambda x: 2 * x, backend='eager')\n"
        "print(double(torch.ones(2)).tolist(), torch._dynamo.disable.__module__)"
    )

    assert compiled == "[2.0, 2.0] torch._dynamo.decorators\n"


def test_the_source_of_each_model_is_read_once():
    reads = said(
        "import builtins\n"
        "read, opened = [], builtins.open\n"
        "builtins.open = lambda file, *rest, **named: (read.append(str(file)), opened(file, *rest, **named))[1]\n"
        "libraries.for_models()\n"
        "print(sum(name.endswith('modeling_bert.py') for name in read))"
    )

    assert reads == "1\n"


def test_transformers_has_all_its_names():
    names = "import transformers; print(*sorted(dir(transformers)), *sorted(dir(transformers.models)))"

    assert said(f"libraries.for_tokens(); {names}").split() == said(names).split()


def test_where_transformers_is_loaded_already_it_stays_as_it_is():
    probe = said(
        "import transformers\n"
        "before = transformers.utils.import_utils.is_scipy_available\n"
        "libraries.for_models()\n"
        "print(transformers.utils.import_utils.is_scipy_available is before)"
    )

    assert probe == "True\n"
