"""A thousand pairs: every DAG in exactly one file, no file with too many, and nothing that an engineer does by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.definitions._internal import dag_parsing_context

from llm_eval.settings import HOME
from tests.many_dags import cycle, migrated, missing, write_catalog

FILES = sorted((HOME / "dags").glob("evaluations_*.py"))
MOST_PER_FILE = 200  # some three seconds of reading, where Airflow allows dag_file_processor_timeout
STEP = 97  # the distance between DAGs that are looked for in all files


@pytest.fixture
def wanted(place) -> set[str]:
    """The ids of the thousand DAGs that are asked for."""
    return write_catalog(place.catalog, 40, 25)


def dag_ids(file: Path) -> list[str]:
    bag = DagBag(file)
    assert bag.import_errors == {}
    return list(bag.dags)


@pytest.mark.slow
def test_a_thousand_pairs_are_shared_out_among_the_files(wanted):
    found = [dag_ids(file) for file in FILES]

    times = Counter(dag_id for ids in found for dag_id in ids)
    assert wanted <= set(times)
    assert set(times.values()) == {1}
    assert max(len(ids) for ids in found) < MOST_PER_FILE


@pytest.mark.slow
def test_a_worker_finds_its_dag_alone_and_in_one_file_only(wanted, monkeypatch):
    for dag_id in sorted(wanted)[::STEP]:
        monkeypatch.setenv(dag_parsing_context._AIRFLOW_PARSING_CONTEXT_DAG_ID, dag_id)

        assert [ids for file in FILES if (ids := dag_ids(file))] == [[dag_id]]


def test_each_file_names_its_own_part():
    parts = [file.read_text().split('part="')[1].split('"')[0] for file in FILES]

    assert parts == [f"{i}/{len(FILES)}" for i in range(len(FILES))]


@pytest.mark.airflow
@pytest.mark.timeout(600)
def test_a_dag_processor_with_our_settings_loads_a_thousand_dags(tmp_path):
    wanted = write_catalog(tmp_path / "catalog", 40, 25)
    settings = migrated(tmp_path / "airflow", tmp_path / "catalog", None)

    cycle(settings, tmp_path / "log")

    assert missing(settings, wanted) == set()
