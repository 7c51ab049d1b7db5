"""render: samples become requests, few-shot examples still separable from the question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llm_eval import fewshot, layout, tables, templates
from llm_eval.errors import IncompleteStage, InvalidSpec, NotThere
from llm_eval.layout import Layout
from llm_eval.prompts import turn_id
from llm_eval.records import Message, Request, Sample, Shot
from llm_eval.specs import DatasetSpec, Prompt
from llm_eval.stages import Counts, StageContext
from llm_eval.stages.fetch import limited_samples, read_few_shot
from llm_eval.stages.rehearsal import rehearse


def manifest(context: StageContext) -> str:
    """Requests are shared by all runs with the same fingerprint, but each run's judges and baselines are looked at."""
    name = f"manifest-{context.run.run_id}.json" if context.run.judges else "manifest.json"
    return layout.join(context.layout.requests, name)


def run(context: StageContext) -> Counts:
    samples = limited_samples(context.layout, context.run.params.limit)
    rehearse(context, samples)
    pool = read_few_shot(context.layout)
    requests = list(render_requests(context.run.dataset, context.run.model.chat, samples, pool))
    tables.write(layout.join(context.layout.requests, "requests.parquet"), Request, requests)
    return {"requests": len(requests), "continuations": sum(len(r.continuations) for r in requests)}


def read_requests(place: Layout) -> list[Request]:
    address = layout.join(place.requests, "requests.parquet")
    try:
        return tables.read(address, Request)
    except NotThere as error:
        raise IncompleteStage(f"{address} is not there: run `llm-eval render {place.run_uri}` first") from error


def render_requests(
    dataset: DatasetSpec, chat: bool, samples: Sequence[Sample], pool: Sequence[Sample]
) -> Iterator[Request]:
    """One request per sample, or one for each turn of its conversation, in their order. `pool` is the few-shot split.

    Raises InvalidSpec for a template that fails, InvalidData for a few-shot split with too few rows.
    """
    shots: dict[str, tuple[Shot, ...]] = {}
    for sample in samples:
        if sample.subset not in shots:
            shots[sample.subset] = _shots(dataset, chat, pool, sample.subset)
        yield from _requests(dataset, chat, sample, shots[sample.subset])


def _requests(dataset: DatasetSpec, chat: bool, sample: Sample, shots: tuple[Shot, ...]) -> Iterator[Request]:
    first = _request(dataset, chat, sample, shots)
    yield first
    for turn, said in enumerate(sample.follow_ups, start=2):
        question = templates.render(dataset.prompt.template, {**_names(dataset, sample), "input": said})
        messages = (Message("user", question),)
        yield replace(first, id=turn_id(sample.id, turn), header="", shots=(), messages=messages, text=None, turn=turn)


def _request(dataset: DatasetSpec, chat: bool, sample: Sample, shots: tuple[Shot, ...]) -> Request:
    prompt, names = dataset.prompt, _names(dataset, sample)
    question = templates.render(prompt.template, names)
    system = (Message("system", templates.render(prompt.system, names)),) if chat and prompt.system else ()
    return Request(
        id=sample.id,
        sample_id=sample.id,
        kind=prompt.kind,
        header=templates.render(prompt.header, names),
        shots=shots,
        text=None if chat else question,
        messages=(*system, Message("user", question)) if chat else None,
        continuations=_continuations(prompt, chat, sample, names),
        temperature=dataset.generation.temperatures.get(sample.subset),
    )


def _continuations(prompt: Prompt, chat: bool, sample: Sample, names: Mapping[str, Any]) -> tuple[str, ...]:
    if prompt.kind == "generate":
        return ()
    if not sample.choices:
        if prompt.kind == "choices":
            raise InvalidSpec(f"sample {sample.id!r} has no choices, but the prompt's kind is choices")
        return ("",)  # the whole text is the prompt itself
    texts = (
        templates.render(prompt.continuation, {**names, "label": label, "choice": choice})
        for label, choice in zip(sample.labels, sample.choices, strict=True)
    )
    return tuple(text.lstrip() if chat else text for text in texts)


def _shots(dataset: DatasetSpec, chat: bool, pool: Sequence[Sample], subset: str) -> tuple[Shot, ...]:
    prompt = dataset.prompt
    if prompt.few_shot is None:
        return ()
    if prompt.few_shot.examples:
        pairs = [(e["user"], e["assistant"]) for e in prompt.few_shot.examples]
    else:
        picked = fewshot.pick(prompt.few_shot, pool, subset)
        pairs = [
            (
                templates.render(prompt.template, names),
                templates.render(prompt.answer, {**names, **_answer_names(sample)}),
            )
            for sample, names in ((s, _names(dataset, s)) for s in picked)
        ]
    # A chat turn begins and ends without the blanks that join pieces of plain text.
    return tuple(Shot(user, answer.strip() if chat else answer + prompt.separator) for user, answer in pairs)


def _names(dataset: DatasetSpec, sample: Sample) -> dict[str, Any]:
    """What a prompt's templates may use. The right answer is not among them."""
    return {
        "input": sample.input,
        "choices": sample.choices,
        "labels": sample.labels,
        "subset": sample.subset,
        "subset_title": dataset.subsets.get(sample.subset, sample.subset),
        "metadata": sample.metadata,
    }


def _answer_names(sample: Sample) -> dict[str, Any]:
    target = sample.targets[0] if sample.targets else ""
    text = sample.choices[sample.labels.index(target)] if target in sample.labels else target
    return {"target": target, "target_text": text, "targets": sample.targets}
