"""Which runs a schedule, a backfill and a person make of a registry of checkpoints."""

from types import SimpleNamespace

import pendulum
import pytest
import time_machine
from airflow.exceptions import InvalidPartitionKeyError
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DagRunInfo, TimeRestriction
from airflow.utils.types import DagRunType

from llm_eval.airflow import timetables
from llm_eval.airflow.graph import Evaluation, build_evaluation_dag
from llm_eval.airflow.timetables import CheckpointTimetable
from llm_eval.checkpoints import Registry
from llm_eval.specs import Checkpoint, ModelSpec, SuiteSpec

NIGHTLY = ("0 2 * * *", False)
ONLY_NEW = ("0 2 * * *", True)
NOW = pendulum.datetime(2026, 3, 10, 12)
FROM_NOW_ON = TimeRestriction(earliest=None, latest=None, catchup=False)


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Checkpoints step-1 … step-3 of the first three days of March 2026; nothing read is kept."""
    monkeypatch.setattr(timetables, "KEPT_SECONDS", -1.0)
    made = Registry.of(str(tmp_path), "m")
    for day in (1, 2, 3):
        register(made, day)
    with time_machine.travel(NOW, tick=False):
        yield made


def register(registry: Registry, day: int) -> None:
    at = pendulum.datetime(2026, 3, day).isoformat()
    registry.add(Checkpoint(name=f"step-{day}", path=f"/weights/{day}", created_at=at), may_move=False)


def timetable(registry: Registry, *ticks) -> CheckpointTimetable:
    return CheckpointTimetable(registry.folder, "m", ticks)


def run_of(day: int, hour: int = 0, run_day: int | None = None) -> DagRunInfo:
    """A run about step-`day`."""
    at = pendulum.datetime(2026, 3, day)
    after = pendulum.datetime(2026, 3, run_day or day, hour)
    return DagRunInfo(run_after=after, data_interval=None, partition_date=at, partition_key=f"step-{day}")


def test_a_backfill_makes_one_run_per_checkpoint_of_its_range_oldest_first(registry):
    found = timetable(registry).iter_partition_dagrun_infos(
        earliest=pendulum.datetime(2026, 3, 2), latest=pendulum.datetime(2026, 3, 3)
    )
    assert list(found) == [run_of(2), run_of(3)]


def test_a_tick_is_for_the_newest_checkpoint(registry):
    info = timetable(registry, NIGHTLY).next_dagrun_info_v2(
        last_dagrun_info=run_of(3, hour=2, run_day=10), restriction=FROM_NOW_ON
    )
    assert info == run_of(3, hour=2, run_day=11)


def test_a_checkpoint_that_came_since_is_the_one_that_the_tick_evaluates(registry):
    register(registry, 9)
    planned = SimpleNamespace(
        next_dagrun_create_after=pendulum.datetime(2026, 3, 11, 2),
        next_dagrun=None,
        next_dagrun_partition_date=pendulum.datetime(2026, 3, 3),
        next_dagrun_partition_key="step-3",
    )
    info = timetable(registry, NIGHTLY).next_run_info_from_dag_model(dag_model=planned)
    assert info == run_of(9, hour=2, run_day=11)


def test_only_new_leaves_nights_out_until_there_is_a_new_checkpoint(registry):
    waiting, last = timetable(registry, ONLY_NEW), run_of(3, hour=2, run_day=4)
    assert waiting.next_dagrun_info_v2(last_dagrun_info=last, restriction=FROM_NOW_ON) is None
    register(registry, 9)
    info = waiting.next_dagrun_info_v2(last_dagrun_info=last, restriction=FROM_NOW_ON)
    assert (info.partition_key, info.run_after) == ("step-9", pendulum.datetime(2026, 3, 10, 2))


def test_of_two_suites_the_one_that_wants_every_night_is_heard(registry):
    both = timetable(registry, ("0 2 * * *", True), ("0 4 * * *", False))
    info = both.next_dagrun_info_v2(last_dagrun_info=run_of(3, hour=4, run_day=10), restriction=FROM_NOW_ON)
    assert info.run_after == pendulum.datetime(2026, 3, 11, 4)


def test_a_checkpoint_dated_in_the_future_is_not_the_newest_yet(registry):
    register(registry, 20)
    info = timetable(registry, NIGHTLY).next_dagrun_info_v2(last_dagrun_info=None, restriction=FROM_NOW_ON)
    assert info.partition_key == "step-3"


def test_without_checkpoints_or_without_a_schedule_nothing_runs_by_itself(registry, tmp_path):
    empty = timetable(Registry.of(str(tmp_path), "other"), NIGHTLY)
    for asked in (empty, timetable(registry)):
        assert asked.next_dagrun_info_v2(last_dagrun_info=None, restriction=FROM_NOW_ON) is None


def test_a_run_by_hand_is_for_a_registered_checkpoint(registry):
    assert timetable(registry).resolve_partition_date("step-2") == pendulum.datetime(2026, 3, 2)
    with pytest.raises(
        InvalidPartitionKeyError, match=r"'step-7' is no registered checkpoint of m. The newest: step-3,"
    ):
        timetable(registry).resolve_partition_date("step-7")


def test_a_checkpoint_registered_a_moment_ago_is_known_at_once(registry, monkeypatch):
    monkeypatch.setattr(timetables, "KEPT_SECONDS", 1e6)
    asked = timetable(registry)
    assert asked.resolve_partition_date("step-3") == pendulum.datetime(2026, 3, 3)
    register(registry, 9)
    assert asked.resolve_partition_date("step-9") == pendulum.datetime(2026, 3, 9)


def test_a_registry_that_cannot_be_read_schedules_nothing_and_says_why(registry, tmp_path):
    broken = timetable(registry, NIGHTLY)
    (tmp_path / "checkpoints" / "m" / "step-1.json").write_text("{")
    assert broken.next_dagrun_info_v2(last_dagrun_info=None, restriction=FROM_NOW_ON) is None
    assert broken.description.startswith("Nothing is scheduled: the registry of checkpoints cannot be read.")
    assert "step-1.json: not valid JSON" in broken.description
    with pytest.raises(InvalidPartitionKeyError, match="not valid JSON"):
        broken.resolve_partition_date("step-3")


def test_ids_of_ticks_are_the_same_in_every_dag_and_those_of_backfills_never_repeat(registry):
    def made(run_type):
        return timetable(registry).generate_run_id(
            run_type=run_type, run_after=NOW, data_interval=None, partition_key="step-1"
        )

    assert made(DagRunType.SCHEDULED) == "scheduled__step-1__2026-03-10T12:00:00"
    assert made(DagRunType.BACKFILL_JOB) != made(DagRunType.BACKFILL_JOB)
    assert made(DagRunType.BACKFILL_JOB).startswith("backfill__step-1__2026-03-10T12:00:00__")


def test_a_new_checkpoint_is_no_new_version_of_the_dag(registry, tmp_path):
    def serialized() -> str:
        return str(DagSerialization.serialize_dag(build_evaluation_dag(evaluation)))

    spec = {"name": "m", "backend": {"kind": "scripted"}, "chat": False, "checkpoints": {"kind": "registry"}}
    suite = SuiteSpec(name="s", schedule="0 2 * * *", only_new=True, models=("m",), datasets=("d",))
    evaluation = Evaluation(ModelSpec.model_validate(spec), "d", (suite,), str(tmp_path))
    before = serialized()
    register(registry, 9)
    assert serialized() == before
    restored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(build_evaluation_dag(evaluation)))
    assert restored.timetable.serialize() == {
        "registry": registry.folder,
        "model": "m",
        "ticks": [["0 2 * * *", True]],
    }
