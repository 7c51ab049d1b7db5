"""Reads the whole catalog as a run would, and names every mistake in it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from llm_eval import backends
from llm_eval.catalog import Catalog
from llm_eval.errors import InputError, UnknownName, UnsupportedRequest
from llm_eval.specs import SuiteSpec
from llm_eval.stages.judging import check_judge, check_panel
from llm_eval.stages.plan import check_dataset


def mistakes(catalog: Catalog) -> list[str]:
    """One message per mistake: files that break their schema, unknown names in suites, pairs no backend can answer.

    Data and weights are not looked for: a catalog is checked on machines that have neither.
    """
    strays = [f"{path}: is not read; catalog files end in .yaml" for path in catalog.strays()]
    # A broken file is met once by its own name and again in every suite that names it.
    return list(dict.fromkeys([*strays, *(found for read in _readings(catalog) if (found := _mistake(read)))]))


def _mistake(read: Callable[[], object]) -> str | None:
    try:
        read()
    except InputError as error:
        return str(error)
    return None


def _readings(catalog: Catalog) -> Iterator[Callable[[], object]]:
    yield from (partial(catalog.model, name) for name in catalog.names("models"))
    yield from (partial(_read_judge, catalog, name) for name in catalog.names("judges"))
    for name in catalog.names("datasets"):
        yield partial(_read_dataset, catalog, name, name)
        yield from (partial(_read_dataset, catalog, name, f"{name}_{v}") for v in _variants(catalog, name))
    for name in catalog.names("suites"):
        yield partial(catalog.suite, name)
        if (suite := _suite(catalog, name)) is not None:
            yield from (partial(_read_pair, catalog, suite, m, d) for m in suite.models for d in suite.datasets)


def _read_dataset(catalog: Catalog, name: str, reference: str) -> None:
    dataset = catalog.dataset(reference)
    check_dataset(dataset, str(catalog.path("datasets", name)))
    if dataset.judge is not None:
        try:
            check_panel(dataset, [catalog.judge(judge) for judge in dataset.judge.judges])
        except UnknownName as error:
            raise InputError(f"dataset {reference!r}: {error}") from error


def _read_judge(catalog: Catalog, name: str) -> None:
    judge = catalog.judge(name)
    check_judge(judge, str(catalog.path("judges", name)))
    try:
        catalog.model(judge.model)
    except UnknownName as error:
        raise InputError(f"judge {name!r}: {error}") from error


def _variants(catalog: Catalog, name: str) -> list[str]:
    try:
        return catalog.variants(name)
    except InputError:
        return []  # the file itself is broken, and named as such


def _suite(catalog: Catalog, name: str) -> SuiteSpec | None:
    try:
        return catalog.suite(name)
    except InputError:
        return None


def _read_pair(catalog: Catalog, suite: SuiteSpec, model: str, reference: str) -> None:
    try:
        backends.check_specs(catalog.model(model), catalog.dataset(reference))
    except (UnknownName, UnsupportedRequest) as error:
        raise InputError(f"suite {suite.name!r}: {error}") from error
