"""Reads the whole catalog as a run would, and names every mistake in it at once."""

from __future__ import annotations

from collections.abc import Iterator

from llm_eval import backends
from llm_eval.catalog import Catalog, split_reference
from llm_eval.errors import InputError
from llm_eval.specs import SuiteSpec
from llm_eval.stages.plan import check_dataset


def mistakes(catalog: Catalog) -> Iterator[str]:
    """One message per mistake: files that break their schema, unknown names in suites, pairs no backend can answer.

    Data and weights are not looked for: a catalog is checked on machines that have neither.
    """
    for name in catalog.names("models"):
        yield from _mistake(lambda name=name: catalog.model(name))
    for name in catalog.names("datasets"):
        where = str(catalog.path("datasets", name))
        for reference in (name, *_variants(catalog, name)):
            yield from _mistake(
                lambda reference=reference, where=where: check_dataset(catalog.dataset(reference), where)
            )
    for name in catalog.names("suites"):
        yield from _suite_mistakes(catalog, name)


def _mistake(attempt: object) -> Iterator[str]:
    try:
        attempt()  # type: ignore[operator]
    except InputError as error:
        yield str(error)


def _variants(catalog: Catalog, name: str) -> list[str]:
    try:
        return [f"{name}_{variant}" for variant in catalog.variants(name)]
    except InputError:
        return []  # the file itself is broken, and named as such


def _suite_mistakes(catalog: Catalog, name: str) -> Iterator[str]:
    try:
        suite = catalog.suite(name)
    except InputError as error:
        yield str(error)
        return
    for model in suite.models:
        for reference in suite.datasets:
            yield from (f"suite {name!r}: {m}" for m in _pair_mistakes(catalog, suite, model, reference))


def _pair_mistakes(catalog: Catalog, suite: SuiteSpec, model: str, reference: str) -> Iterator[str]:
    known = model in catalog.names("models"), split_reference(reference)[0] in catalog.names("datasets")
    if all(known):
        try:
            spec, dataset = catalog.model(model), catalog.dataset(reference)
        except InputError:
            if split_reference(reference)[1] is None:
                return  # the file is broken, and named as such
            raise_for = reference
            yield from _mistake(lambda: catalog.dataset(raise_for))
            return
        yield from _mistake(lambda: backends.check_kind(spec, dataset.prompt.kind))
        return
    if not known[0] and reference == suite.datasets[0]:
        yield from _mistake(lambda: catalog.model(model))
    if not known[1] and model == suite.models[0]:
        yield from _mistake(lambda: catalog.dataset(reference))
