"""When an evaluation runs, and for which checkpoint: a timetable whose partitions are a model's checkpoints.

A cron tick evaluates the newest checkpoint; `airflow backfill create` over a range of dates makes one run for each
checkpoint created in it; a run made by hand names one. The partition key is the checkpoint's name, the partition date
its creation time.

What is serialised is the registry's address, never its entries: a new checkpoint is no new version of the DAG. The
scheduler, the API server and the DAG processor all ask, for every DAG, so what was read is kept for a moment.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.exceptions import InvalidPartitionKeyError
from airflow.sdk.timezone import coerce_datetime, utcnow
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable
from airflow.timetables.trigger import CronTriggerTimetable, MultipleCronTriggerTimetable
from airflow.utils.types import DagRunType

if TYPE_CHECKING:
    from airflow.models.dag import DagModel
    from airflow.timetables.base import TimeRestriction

logger = logging.getLogger(__name__)

KEPT_SECONDS = 5.0
KEPT_SECONDS_REMOTE = 30.0  # an object store answers slowly, and bills each question


class Tick(NamedTuple):
    """A cron expression, UTC; `only_new`: skipped while the newest checkpoint has been evaluated already."""

    cron: str
    only_new: bool


class Known(NamedTuple):
    """The registry as it was read last: (created at, name), oldest first; `problem`: why it could not be."""

    checkpoints: list[tuple[datetime, str]]
    problem: str | None
    until: float


_known: dict[str, Known] = {}


def read_registry(address: str, model: str) -> Known:
    """What the registry holds. Never raises: an exception here would take the DAG down, in the scheduler itself."""
    kept = _known.get(address)
    if kept is not None and time.monotonic() < kept.until:
        return kept
    from llm_eval.checkpoints.registry import Registry
    from llm_eval.errors import LlmEvalError

    until = time.monotonic() + (KEPT_SECONDS_REMOTE if "://" in address else KEPT_SECONDS)
    try:
        entries = Registry(model, address).entries()
        known = Known([(_moment(c.created_at), c.name) for c in entries], None, until)
    except LlmEvalError as error:
        known = Known([], str(error), until)
    except Exception as error:  # a file system's own kind of error; whatever it is, the DAG must stay
        logger.exception("the registry of checkpoints at %s", address)
        known = Known([], f"{type(error).__name__}: {error}", until)
    if known.problem is not None:
        logger.warning("model %s: its registry of checkpoints cannot be read: %s", model, known.problem)
    _known[address] = known
    return known


def _moment(text: str) -> Any:
    return coerce_datetime(datetime.fromisoformat(text))


@cache
def _cron(expression: str) -> CronTriggerTimetable:
    """Made once: in every cycle Airflow takes each DAG's timetable from its serialised form some fifteen times, each of
    which would put the expression into words again: half of all that a DAG costs."""
    return CronTriggerTimetable(expression, timezone="UTC")


class CronTimetable(MultipleCronTriggerTimetable):  # type: ignore[misc]
    """Airflow's own for several cron expressions, UTC, made once for the same ones."""

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CronTimetable:
        return cron_timetable(tuple(data["expressions"]))


@cache
def cron_timetable(expressions: tuple[str, ...]) -> CronTimetable:
    return CronTimetable(*expressions, timezone="UTC")


class CheckpointTimetable(Timetable):  # type: ignore[misc]
    """One run per tick for the newest checkpoint, one per checkpoint of a backfill's range."""

    partitioned = True  # scheduled by partition: such runs have no logical date
    periodic = True  # else backfills are refused
    can_be_scheduled = True
    run_ordering = ("partition_date", "run_after")

    def __init__(self, registry: str, model: str, ticks: Sequence[Sequence[Any]] = ()) -> None:
        self.registry, self.model = registry, model
        self.ticks = tuple(Tick(str(cron), bool(only_new)) for cron, only_new in ticks)
        self._crons = [_cron(tick.cron) for tick in self.ticks]

    def serialize(self) -> dict[str, Any]:
        return {"registry": self.registry, "model": self.model, "ticks": [list(tick) for tick in self.ticks]}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CheckpointTimetable:
        return cls(data["registry"], data["model"], data["ticks"])

    def validate(self) -> None:
        for cron in self._crons:
            cron.validate()

    @property
    def summary(self) -> str:
        return f"{' · '.join(tick.cron for tick in self.ticks) or 'by hand'} · checkpoints of {self.model}"

    @property
    def description(self) -> str:
        known = read_registry(self.registry, self.model)
        if known.problem is not None:
            return f"Nothing is scheduled: the registry of checkpoints cannot be read. {known.problem}"
        when = "; ".join(f"{c.description}{', if it is new' if t.only_new else ''}" for t, c in self._ticking())
        return f"{when or 'By hand and by backfill'}: the newest checkpoint of {self.model}"

    def _ticking(self) -> Iterable[tuple[Tick, CronTriggerTimetable]]:
        return zip(self.ticks, self._crons, strict=True)

    def _newest(self) -> tuple[datetime, str] | None:
        """Of those created by now: a date in the future is somebody's plan."""
        now = utcnow()
        return max((c for c in read_registry(self.registry, self.model).checkpoints if c[0] <= now), default=None)

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterable[DagRunInfo]:
        """What a backfill makes runs of, oldest first; both ends belong to the range."""
        for at, name in read_registry(self.registry, self.model).checkpoints:
            if earliest <= at <= latest:
                yield DagRunInfo(run_after=at, data_interval=None, partition_date=at, partition_key=name)

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next tick, for the checkpoint that is the newest by now; `next_run_info_from_dag_model` looks again.

        last_dagrun_info: of the newest checkpoint that a schedule or a backfill has evaluated.
        """
        newest = self._newest()
        if newest is None:
            return None
        at, name = newest
        evaluated = last_dagrun_info is not None and last_dagrun_info.partition_date == at
        last = None if last_dagrun_info is None else DagRunInfo.exact(last_dagrun_info.run_after)
        ticks = [
            info.run_after
            for tick, cron in self._ticking()
            if not (tick.only_new and evaluated)
            and (info := cron.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)) is not None
        ]
        if not ticks:
            return None
        return DagRunInfo(run_after=min(ticks), data_interval=None, partition_date=at, partition_key=name)

    def next_run_info_from_dag_model(self, *, dag_model: DagModel) -> DagRunInfo | None:
        """At the tick itself: what has become the newest since the day before."""
        planned = super().next_run_info_from_dag_model(dag_model=dag_model)
        newest = self._newest()
        if planned is None or newest is None:
            return planned
        return planned._replace(data_interval=None, partition_date=newest[0], partition_key=newest[1])

    def _decode_partition_date(self, partition_key: str) -> datetime:
        """The creation time of the checkpoint that a run made by hand names; any other name is refused."""
        known = read_registry(self.registry, self.model)
        if partition_key in (found := {name: at for at, name in known.checkpoints}):
            return found[partition_key]
        # It may have been registered a moment ago.
        _known.pop(self.registry, None)
        known = read_registry(self.registry, self.model)
        if partition_key in (found := {name: at for at, name in known.checkpoints}):
            return found[partition_key]
        if known.problem is not None:
            raise InvalidPartitionKeyError(f"The registry of checkpoints cannot be read: {known.problem}")
        newest = ", ".join(name for _, name in known.checkpoints[:-6:-1])
        raise InvalidPartitionKeyError(
            f"{partition_key!r} is no registered checkpoint of {self.model}. The newest: {newest or 'none yet'}. "
            f"Register it with: llm-eval checkpoint register {self.model} PATH"
        )

    def infer_manual_data_interval(self, *, run_after: datetime) -> DataInterval:
        return DataInterval.exact(run_after)

    def generate_run_id(
        self,
        *,
        run_type: Any,
        run_after: datetime,
        data_interval: DataInterval | None,
        partition_key: str | None = None,
        **extra: Any,
    ) -> str:
        """With the checkpoint's name; of a tick the same in every DAG, so that a report finds what it waits for."""
        parts = [run_type.value, *([partition_key] if partition_key else []), run_after.strftime("%Y-%m-%dT%H:%M:%S")]
        # A backfill may evaluate a checkpoint again, at the same run_after.
        return "__".join(parts if run_type == DagRunType.SCHEDULED else [*parts, uuid.uuid4().hex[:6]])
