"""`llm-eval list`: what the catalog names, as an aligned table."""

from __future__ import annotations

import io
from collections.abc import Sequence

from llm_eval.catalog import KINDS, Catalog
from llm_eval.errors import UnknownName


def listing(catalog: Catalog, kind: str, patterns: Sequence[str]) -> str:
    """A table of everything of one kind whose name matches all patterns; for datasets, variants match too."""
    if kind not in KINDS:
        raise UnknownName("kind of thing", kind, KINDS)
    if kind == "datasets":
        return _table(("dataset", "variant", "kind", "headline", "follows"), _dataset_rows(catalog, patterns))
    if kind == "models":
        models = [catalog.model(name) for name in catalog.names("models", patterns)]
        rows = [(m.name, m.backend.kind, "chat" if m.chat else "text", m.run_on, m.description) for m in models]
        return _table(("model", "backend", "prompts", "runs on", "description"), rows)
    if kind == "judges":
        judges = [catalog.judge(name) for name in catalog.names("judges", patterns)]
        return _table(
            ("judge", "verdict", "model", "follows"),
            [(j.name, j.verdict.kind, j.model, j.reference or j.description) for j in judges],
        )
    suites = [catalog.suite(name) for name in catalog.names("suites", patterns)]
    return _table(
        ("suite", "schedule", "models", "datasets", "description"),
        [(s.name, s.schedule or "by hand", ", ".join(s.models), ", ".join(s.datasets), s.description) for s in suites],
    )


def _dataset_rows(catalog: Catalog, patterns: Sequence[str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name in catalog.names("datasets"):
        for reference in (name, *(f"{name}_{v}" for v in catalog.variants(name))):
            if all(p.lower() in reference for p in patterns):
                dataset = catalog.dataset(reference)
                first = "" if reference != name else name
                follows = dataset.reference or dataset.description
                measured = dataset.metrics[0].name if dataset.metrics else ""
                by = f"judge: {', '.join(dataset.judge.judges)}" if dataset.judge is not None else measured
                rows.append((first, reference, dataset.prompt.kind, by, follows))
    return rows


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    import shutil

    from rich.console import Console
    from rich.table import Table

    if not rows:
        return "nothing in the catalog matches"
    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=max(shutil.get_terminal_size((140, 40)).columns, 100)).print(table, markup=False)
    return text.getvalue().rstrip()
