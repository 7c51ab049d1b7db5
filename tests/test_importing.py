"""What a plain run must not import, and the three means that keep it out."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from llm_eval import importing
from tests.conftest import CHECKOUT


def modules_after(code: str) -> set[str]:
    """Names of all modules that a new interpreter has loaded after `code`."""
    told = f"{code}\nimport sys; print(*(n for n, m in sys.modules.items() if type(m).__name__ != 'Dormant'))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    return set(done.stdout.split())


@pytest.fixture
def made_module(tmp_path, monkeypatch):
    """A module that says when it is loaded."""
    (tmp_path / "made_module.py").write_text("import sys\nsys.made_module_loaded = True\nanswer = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delattr(sys, "made_module_loaded", raising=False)
    yield "made_module"
    sys.modules.pop("made_module", None)


@pytest.fixture
def made_package(tmp_path, monkeypatch):
    (tmp_path / "made_package").mkdir()
    (tmp_path / "made_package" / "__init__.py").write_text("first = 42\n")
    (tmp_path / "made_package" / "inside.py").write_text("import made_package\nanswer = made_package.first\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("made_package", "made_package.inside"):
        sys.modules.pop(name, None)


def test_a_deferred_module_is_loaded_when_something_of_it_is_used(made_module):
    with importing.deferred(made_module):
        import made_module as module

    assert not hasattr(sys, "made_module_loaded")
    assert module.answer == 42
    assert sys.made_module_loaded


def test_looking_through_all_modules_does_not_load_a_deferred_one(made_module):
    with importing.deferred(made_module):
        import made_module as module

    inspect.getmodule(inspect.currentframe())  # asks every module for its file
    assert module.__file__
    assert not hasattr(sys, "made_module_loaded")


def test_a_submodule_of_a_deferred_package_is_imported_after_the_package(made_package):
    with importing.deferred("made_package"):
        import made_package

    from made_package.inside import answer

    assert answer == made_package.first == 42


def test_a_mended_module_is_mended_before_its_importer_sees_it(made_package):
    with importing.mended("made_package", lambda module: setattr(module, "first", 43)):
        from made_package.inside import answer

    assert answer == 43


def test_an_absent_package_is_not_there_inside_and_there_again_after(made_module):
    with importing.absent(made_module), pytest.raises(ModuleNotFoundError):
        import made_module

    import made_module

    assert made_module.answer == 42


def test_a_package_that_is_loaded_already_stays(made_module):
    import made_module

    with importing.absent("made_module"):
        assert sys.modules["made_module"] is made_module


def test_validation_loads_no_database_toolkit_and_no_statistics():
    loaded = modules_after(
        "from llm_eval import expectations\n"
        "from llm_eval.specs import DatasetSpec\n"
        "from tests.builders import DATASET, choice_sample\n"
        "assert not expectations.validate([choice_sample(targets=('E',))], DatasetSpec.model_validate(DATASET)).success"
    )

    assert "great_expectations" in loaded
    assert loaded & {"sqlalchemy", "scipy.stats", "scipy.optimize", "altair"} == set()


def test_records_are_written_and_read_without_pandas(tmp_path):
    loaded = modules_after(
        "from llm_eval import tables\n"
        "from tests.builders import response\n"
        f"tables.write({str(tmp_path / 'x.parquet')!r}, type(response()), [response()])\n"
        f"assert tables.read({str(tmp_path / 'x.parquet')!r}, type(response())) == [response()]\n"
        "from llm_eval import results\n"
        "from tests.reporting.builders import result\n"
        "assert len(results.current([result()])) == 1"
    )

    assert {"duckdb", "pyarrow.parquet"} <= loaded
    assert loaded & {"pandas", "pyarrow.dataset"} == set()


def test_frames_are_known_to_pyarrow_all_the_same():
    code = (
        "import pyarrow\nfrom llm_eval import tables\nfrom tests.builders import response\n"
        "tables.to_table(type(response()), [response()])\n"
        "import pandas\nframe = pandas.DataFrame({'n': [1, None], 't': ['x', None]})\n"
        "assert pyarrow.Table.from_pandas(frame).to_pandas().equals(frame)"
    )

    assert "pandas" in modules_after(code)


def test_importing_the_specs_reads_no_source_files():
    # Pydantic would, for descriptions, and for that look at the file of every module: a third of a task's start.
    code = "import linecache, llm_eval.specs; print(sorted(n for n in linecache.cache if 'llm_eval' in n))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)

    assert done.stdout == "[]\n"
