"""What a model will really be asked: rendered prompts of a few samples, nothing loaded and nothing written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from llm_eval import checkpoints, prompts, sampling, sources
from llm_eval.backends import backend_of, check_specs
from llm_eval.catalog import Catalog
from llm_eval.records import Message, Request, Sample
from llm_eval.settings import Settings
from llm_eval.stages.conversations import continued
from llm_eval.stages.fetch import limited
from llm_eval.stages.plan import check_dataset
from llm_eval.stages.render import render_requests


@dataclass(frozen=True, slots=True)
class Preview:
    """One prompt with all its shots. `text` for text models (and raw prompts), `messages` for chat models."""

    sample: Sample
    request: Request
    text: str | None
    messages: tuple[Message, ...]


def previews(
    catalog: Catalog, settings: Settings, model_name: str, reference: str, count: int | None, raw: bool = False
) -> Iterator[Preview]:
    """Prompts of `count` samples drawn evenly from the dataset; of all of them, in order, if count is None.

    A later turn of a conversation stands after the turns before it.

    `raw`: conversations as the model reads them, its tokenizer's chat template applied.

    Raises InputError for whatever `plan` would refuse, but for the model's weights: a prompt can be looked at before
    they are there.
    """
    model, dataset = catalog.model(model_name), catalog.dataset(reference)
    check_dataset(dataset, str(catalog.path("datasets", dataset.name)))
    check_specs(model, dataset)
    rows = sources.read(dataset, sources.resolve(dataset, settings), settings)
    samples = limited(sampling.to_samples(dataset, rows.questions), count)
    pool = sampling.to_samples(dataset, rows.few_shot)
    by_id = {sample.id: sample for sample in samples}
    before: list[Request] = []
    for turn in render_requests(dataset, model.chat, samples, pool):
        sample = by_id[turn.sample_id]
        before = [*before, turn] if turn.turn > 1 else [turn]
        said = [f"(the model's answer to turn {earlier.turn})" for earlier in before[:-1]]
        request = continued(turn, before[:-1], said) if said else turn
        shots = len(request.shots)
        if raw:
            checkpoint = checkpoints.choose(model, None, settings)
            text = backend_of(model).raw_prompt(model, checkpoint, settings, request)
            if text is not None:
                yield Preview(sample, request, text, ())
                continue
        if prompts.is_chat(request):
            yield Preview(sample, request, None, prompts.chat_prompt(request, shots))
        else:
            yield Preview(sample, request, prompts.text_prompt(request, shots), ())


def as_text(item: Preview) -> str:
    """For people: the prompt between rulers, continuations and the right answer below."""
    sample, request = item.sample, item.request
    turn = f" · turn {request.turn}" if sample.follow_ups else ""
    title = f"── {sample.id} · {request.kind} · {len(request.shots)} shots{turn} "
    body = item.text if item.text is not None else "\n".join(f"[{m.role}]\n{m.content}" for m in item.messages)
    lines = [title.ljust(100, "─"), body or ""]
    lines += [
        f"  continuation {label}: {text!r}" for label, text in zip(sample.labels, request.continuations, strict=False)
    ]
    right = sample.targets[request.turn - 1 : request.turn] if sample.follow_ups else sample.targets
    if right:
        lines.append(f"  right answer: {' | '.join(right)}")
    return "\n".join(lines)


def as_json(item: Preview) -> str:
    """For programs: one JSON object a line; `id` is what the replay backend reads answers by. No gold answer in it."""
    prompt = {"text": item.text} if item.text is not None else {"messages": [asdict(m) for m in item.messages]}
    rest = {"continuations": item.request.continuations} if item.request.continuations else {}
    return json.dumps({"id": item.request.id, **prompt, **rest}, ensure_ascii=False)
