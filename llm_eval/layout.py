"""Where everything lies under the root. Pure: no I/O. All places are URIs as fsspec understands them."""

from __future__ import annotations

from dataclasses import dataclass

from llm_eval.errors import InputError
from llm_eval.fingerprint import slug
from llm_eval.specs import PlannedJudge, RunSpec

PUBLISHED = "published.json"  # in a run's folder: all its rows are where readers look
RUN_DEPTH = 4  # runs/{model}/{dataset}/{run_id}


def join(base: str, *parts: str) -> str:
    return "/".join([base.rstrip("/"), *(p.strip("/") for p in parts)])


@dataclass(frozen=True, slots=True)
class Shard:
    """One slice of the infer stage: requests whose position modulo `count` is `index`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "3/8", counted from 0 (so 0/8 … 7/8). Raises InputError."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise InputError(f"--shard {text!r} is not of the form i/n with 0 <= i < n, such as 0/4")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard(0, 1)


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one run."""

    root: str
    run: RunSpec

    @property
    def run_uri(self) -> str:
        return run_uri(self.root, self.run.model.name, self.run.dataset_reference, self.run.run_id)

    @property
    def samples(self) -> str:
        return join(self.root, "samples", self.run.dataset.name, self.run.fingerprints.samples)

    @property
    def requests(self) -> str:
        return join(self.root, "requests", self.run.dataset.name, self.run.fingerprints.requests)

    @property
    def responses(self) -> str:
        return join(self.root, "responses", self.run.model.name, self.run.fingerprints.responses)

    @property
    def verdicts(self) -> str:
        """Of judged runs: judgements.parquet and scores.parquet, and a manifest for each judge's shards."""
        return join(self.root, "verdicts", self.run.model.name, self.run.fingerprints.verdicts or "none")

    def replies(self, judge: PlannedJudge) -> str:
        """Where a judge's replies about the dataset are kept, by what was asked: for all models and runs together."""
        return join(self.root, "judgements", judge.model.name, self.run.dataset.name, judge.replies)

    @property
    def scores(self) -> str:
        return join(self.root, "scores", self.run.model.name, self.run.fingerprints.scores)

    def result(self, table: str) -> str:
        """The run's own file of `results/{table}`, hive-partitioned by model and dataset."""
        model, dataset = self.run.model.name, self.run.dataset.name
        return join(self.root, "results", table, f"model={model}", f"dataset={dataset}", f"{self.run.run_id}.parquet")


def run_uri(root: str, model: str, dataset_reference: str, run_id: str) -> str:
    return join(root, "runs", model, dataset_reference, run_id)


def root_of(uri: str) -> str:
    """The root that a run's URI lies under. Raises InputError if it is not the URI of a run."""
    parts = uri.rstrip("/").removesuffix("/run.json").split("/")
    if len(parts) <= RUN_DEPTH or parts[-RUN_DEPTH] != "runs":
        raise InputError(f"{uri!r} is not a run: expected ROOT/runs/MODEL/DATASET/RUN_ID, as `llm-eval plan` prints it")
    return "/".join(parts[:-RUN_DEPTH]) or "/"


def leaderboard(root: str, suite: str) -> str:
    return join(root, "leaderboards", suite)


def checkpoint_report(root: str, suite: str, model: str, checkpoint: str) -> str:
    """The folder of report.{html,md,txt,json}; a checkpoint's name may be any text."""
    return join(root, "reports", suite, model, slug(checkpoint))


def trend(root: str, model: str) -> str:
    """The folder of trend.{png,svg}."""
    return join(root, "reports", model)


def human_round(root: str, suite: str, name: str) -> str:
    """The folder of one round of questions to people."""
    return join(root, "human", suite, name)


def results(root: str, table: str) -> str:
    return join(root, "results", table)


def checkpoints(root: str, model: str) -> str:
    return join(root, "checkpoints", model)
