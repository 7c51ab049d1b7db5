"""The house's rules that are not types: who may import whom, and what stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

WRITTEN_BY_HAND = {".py", ".yaml", ".md", ".sh", ".in", ".html", ".toml", ".env", ".json"}
HEAVY = (
    "torch",
    "transformers",
    "great_expectations",
    "datasets",
    "kubernetes",
    "openai",
    "pandas",
    "scipy",
    "matplotlib",
    "airflow",
)


def imported(path: Path) -> set[str]:
    """Top-level names of every module that a file imports anywhere, for `llm_eval` the two top levels."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found |= {".".join(n.split(".")[:2]) if n.startswith("llm_eval") else n.split(".")[0] for n in names}
    return found


def test_only_the_airflow_room_imports_airflow():
    others = [p for p in (CHECKOUT / "llm_eval").rglob("*.py") if "airflow" not in p.relative_to(CHECKOUT).parts[1:-1]]

    assert [str(p) for p in others if "airflow" in imported(p)] == []


def test_dags_and_plugins_meet_the_library_only_through_its_airflow_room():
    files = [*(CHECKOUT / "dags").rglob("*.py"), *(CHECKOUT / "plugins").rglob("*.py")]

    assert files
    for path in files:
        assert imported(path) - sys.stdlib_module_names <= {"airflow", "llm_eval.airflow"}, path


@pytest.mark.parametrize("command", [["--help"], ["list", "models"]])
def test_the_command_line_imports_nothing_heavy(command):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['llm-eval', *{command!r}]\n"
        "try:\n    runpy.run_module('llm_eval', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_every_package_that_is_imported_is_asked_for():
    wanted = (CHECKOUT / "requirements.in").read_text().splitlines()
    asked = {re.split(r"[~=<>\[ ]", line)[0].replace("_", "-").lower() for line in wanted if line[:1].isalpha()}
    distributions = packages_distributions()
    used = set().union(*(imported(p) for p in (CHECKOUT / "llm_eval").rglob("*.py")))
    packages = {name for name in used if not name.startswith("llm_eval") and name not in sys.stdlib_module_names}

    missing = {
        name for name in packages if not {d.replace("_", "-").lower() for d in distributions.get(name, [name])} & asked
    }

    assert missing - {"airflow", "_typeshed"} == set()
    assert "apache-airflow" in asked


def test_no_merge_was_left_unfinished():
    tops = ("llm_eval", "dags", "plugins", "include", "tests", "docs", "benchmarks")
    files = [path for top in tops for path in (CHECKOUT / top).rglob("*") if path.suffix in WRITTEN_BY_HAND]
    marks = re.compile(rb"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)

    assert len(files) > 500
    assert [str(path) for path in files if marks.search(path.read_bytes())] == []
