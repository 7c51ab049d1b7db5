"""validate: bad data stops the run here, before any model is loaded, with a report that names the rows."""

from __future__ import annotations

import logging

from llm_eval import expectations, layout, storage
from llm_eval.errors import InvalidData
from llm_eval.fingerprint import fingerprint
from llm_eval.stages import Counts, StageContext
from llm_eval.stages.fetch import read_samples

logger = logging.getLogger(__name__)


def _report(context: StageContext, suffix: str) -> str:
    """Samples are shared by all runs with the same fingerprint, but their expectations may differ."""
    asked = fingerprint(context.run.dataset.model_dump(mode="json", include={"expectations", "prompt", "subsets"}))
    return layout.join(context.layout.samples, f"validation-{asked}.{suffix}")


def manifest(context: StageContext) -> str:
    return _report(context, "manifest.json")


def run(context: StageContext) -> Counts:
    validation = expectations.validate(read_samples(context.layout), context.run.dataset)
    storage.write_json(_report(context, "json"), validation.to_json())
    storage.write_bytes(_report(context, "html"), validation.to_html().encode())
    for line in validation.summary_lines():
        logger.info("validate: %s", line)
    if not validation.success:
        broken = "; ".join(f"{c.what}: {c.found}" for c in validation.checks if not c.success)
        raise InvalidData(
            f"dataset {context.run.dataset.name!r}: {broken}. The rows are named in {_report(context, 'html')}. "
            "Mend the data or the dataset's YAML; nothing was asked of the model."
        )
    return {"checks": len(validation.checks), "rows": validation.rows}
