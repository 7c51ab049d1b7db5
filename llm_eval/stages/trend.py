"""trend: a model's results over its checkpoints become pictures."""

from __future__ import annotations

from collections.abc import Sequence

from llm_eval import layout, storage
from llm_eval.comparison import Trend
from llm_eval.reporting.curves import PICTURES, draw, picture_format
from llm_eval.settings import Settings


def draw_curves(settings: Settings, model: str, trends: Sequence[Trend], plot: str | None = None) -> list[str]:
    """Where the curves now are: `plot`, or trend.png and trend.svg of `{root}/reports/{model}`.

    Raises InputError for a picture of another kind.
    """
    folder = layout.trend(settings.root, model)
    addresses = [plot] if plot else [layout.join(folder, f"trend.{format}") for format in PICTURES]
    for address in addresses:
        storage.write_bytes(address, draw(trends, model, picture_format(address)))
    return addresses
