"""The judged benchmarks whole, from their real files: prompts as published, and aggregations computed a second time."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from llm_eval import results
from llm_eval.catalog import Catalog
from llm_eval.judging.asks import asks_of
from llm_eval.layout import Layout
from llm_eval.settings import HOME, Settings
from llm_eval.stages import StageContext
from llm_eval.stages.pipeline import run_all
from llm_eval.stages.plan import Wish, parse_params
from llm_eval.stages.scored import read_scored
from llm_eval.stages.shown import shown_to

KIND = ("事实正确性", "满足用户需求", "清晰度", "完备性", "逻辑连贯性", "创造性", "丰富度", "公平与可负责程度")


def ratings(overall):
    return "{" + ", ".join(f"'{name}': {overall}" for name in (*KIND, "综合得分")) + "}"


REPLIES = {
    "alignbench": [f"解释。\n{ratings(overall)}" for overall in (2, 5, 7, 9)] + ["没有评分"],
    "alpaca-eval_written": ["m", "M", "M", "neither"],
    "mt-bench": ["Rating: [[2]]", "Rating: [[7.5]]", "[[9/10]]", "Rating: [[15]]"],
    "arena-hard": [f"My verdict: [[{grade}]]" for grade in ("A>>B", "A>B", "A=B", "B>A", "B>>A")] + ["[[A>B]] [[B>A]]"],
}


class Evaluated:
    """One run of a benchmark: answers and verdicts are canned, everything else is as it always is."""

    def __init__(self, folder: Path, files: Path, reference: str) -> None:
        (folder / "catalog" / "models").mkdir(parents=True)
        said = [
            "A short answer.",
            "# A long one\n\n- with\n- **lists**\n\nand more words.",
            "An answer of some length.",
        ]
        for name, replies in (("pupil", said), ("judge-model", REPLIES[reference])):
            spec = {"name": name, "chat": True, "backend": {"kind": "scripted", "replies": replies}}
            (folder / "catalog" / "models" / f"{name}.yaml").write_text(yaml.safe_dump(spec, allow_unicode=True))
        settings = replace(Settings.from_environment({}).with_root(str(folder / "root")), datasets=(files,))
        catalog = Catalog((HOME / "include" / "catalog", folder / "catalog"))
        overrides = {"judge.model": "judge-model", "dataset.max_failed_fraction": 1}
        params = parse_params({"overrides": overrides}, "test")
        self.run = run_all(catalog, settings, Wish("pupil", reference, params))
        self.rows = results.run(settings.root, self.run.run_id)
        place = (settings.root, self.run.run_id, "pupil", self.run.dataset.name)
        self.judgements = results.judgements(*place)
        self.samples = results.samples(*place)
        self.settings = settings

    @property
    def headline(self):
        return next(row for row in self.rows if row.headline)

    def row(self, metric, subset="all", aggregation=None):
        (row,) = (
            row
            for row in self.rows
            if (row.metric, row.subset) == (metric, subset) and aggregation in (None, row.aggregation)
        )
        return row


@pytest.fixture(scope="module")
def evaluated(request, tmp_path_factory, benchmark_files):
    return Evaluated(tmp_path_factory.mktemp("judged"), benchmark_files, request.param)


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values)


def by_sample(judgements):
    found = defaultdict(list)
    for each in judgements:
        found[each.sample_id].append(each)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("evaluated", list(REPLIES), indirect=True)
def test_the_published_figures_are_those_of_the_verdicts(evaluated):
    check = {
        "alignbench": _alignbench,
        "alpaca-eval": _alpaca_eval,
        "mt-bench": _mt_bench,
        "arena-hard": _arena_hard,
    }[evaluated.run.dataset.name]
    counts = {"alignbench": 683, "alpaca-eval": 805, "mt-bench": 80, "arena-hard": 500}
    broken = {key for key, said in by_sample(evaluated.judgements).items() if any(j.status == "failed" for j in said)}

    assert evaluated.headline.samples == counts[evaluated.run.dataset.name]
    assert (evaluated.headline.failed, evaluated.headline.scored) == (
        len(broken),
        evaluated.headline.samples - len(broken),
    )
    assert len(broken) > 0
    assert {each.value for each in evaluated.judgements if each.status == "failed"} == {None}
    check(evaluated, {key: said for key, said in by_sample(evaluated.judgements).items() if key not in broken})


def _alignbench(evaluated, kept):
    """THUDM/AlignBench e505054, show_result.py."""
    by_category = defaultdict(list)
    for said in kept.values():
        by_category[said[0].subset].append(said[0].value)
    means = {category: mean(values) for category, values in by_category.items()}
    reasoning = mean(means[c] for c in ("数学计算", "逻辑推理"))
    language = mean(means[c] for c in ("基本任务", "中文理解", "综合问答", "文本写作", "角色扮演", "专业能力"))
    assert evaluated.headline.value == pytest.approx((reasoning + language) / 2)
    assert evaluated.row("rating", "推理", "macro").value == pytest.approx(reasoning)
    assert evaluated.row("rating", "语言", "macro").value == pytest.approx(language)
    low, high = evaluated.headline.bound_low, evaluated.headline.bound_high
    assert 1 <= low < evaluated.headline.value < high <= 10
    assert {name for each in evaluated.judgements for name in each.dimensions} == set(KIND)


def _alpaca_eval(evaluated, kept):
    preferences = [mean(each.value for each in said) for said in kept.values()]
    assert {len(said) for said in kept.values()} == {2}
    assert evaluated.row("win_rate", aggregation="micro").value == pytest.approx(mean(preferences))
    discrete = mean(0.5 if p == 0.5 else float(p > 0.5) for p in preferences)
    assert evaluated.row("discrete_win_rate", aggregation="micro").value == pytest.approx(discrete)
    assert evaluated.headline.metric == "length_controlled_win_rate"
    assert evaluated.headline.ci_low < evaluated.headline.value < evaluated.headline.ci_high
    same = mean(a.verdict == b.verdict for a, b in kept.values())
    assert evaluated.row("position_bias", aggregation="micro").value == pytest.approx(same)
    assert evaluated.row("consistency", aggregation="micro").value == pytest.approx(1 - same)


def _mt_bench(evaluated, kept):
    """lm-sys/FastChat, show_result.py: the mean over all judgements of both turns, and of each."""
    assert {tuple(each.turn for each in said) for said in kept.values()} == {(1, 2)}
    assert evaluated.headline.value == pytest.approx(mean(each.value for said in kept.values() for each in said))
    for turn in (1, 2):
        row = evaluated.row(f"rating:turn-{turn}", aggregation="micro")
        assert row.value == pytest.approx(mean(said[turn - 1].value for said in kept.values()))
    assert {each.value for each in evaluated.judgements} <= {2.0, 7.5, 9.0, None}
    assert all("turn 2" in sample.response for sample in evaluated.samples)


def _arena_hard(evaluated, kept):
    """lmarena/arena-hard-auto v0.1, show_result.py: a clear win is three games, a tie half a game for each."""
    games = {"first_much": (3, 0), "first": (1, 0), "tie": (0.5, 0.5), "second": (0, 1), "second_much": (0, 3)}
    wins = losses = 0.0
    for said in kept.values():
        for each in said:
            won, lost = games[each.verdict] if each.order == "as_is" else reversed(games[each.verdict])
            wins, losses = wins + won, losses + lost
    assert evaluated.headline.metric == "bradley_terry"
    assert evaluated.headline.value == pytest.approx(wins / (wins + losses))
    assert {each.verdict for said in kept.values() for each in said} == set(games)


def asked(evaluated):
    """Subject, system and user turn of every question to the judge."""
    (judge,) = evaluated.run.judges
    place = Layout(evaluated.settings.root, evaluated.run)
    context = StageContext(evaluated.run, place, evaluated.settings)
    for subject in shown_to(judge.spec, context, read_scored(place)).subjects:
        for ask in asks_of(subject, judge.spec, True):
            *system, user = ask.request.messages
            yield subject, "".join(message.content for message in system), user.content


@pytest.mark.slow
@pytest.mark.parametrize("evaluated", ["mt-bench"], indirect=True)
def test_mt_benchs_judge_is_asked_word_for_word_as_published(evaluated, benchmark_files):
    lines = (benchmark_files / "mt_bench" / "judge_prompts.jsonl").read_text().splitlines()
    published = {prompt["name"]: prompt for prompt in map(json.loads, lines)}
    questions = list(asked(evaluated))
    assert len(questions) == 160
    for subject, system, user in questions:
        sample, (first, *second) = subject.sample, subject.answers
        needs_reference = sample.subset in ("math", "reasoning", "coding")
        name = "single-math-v1" if needs_reference else "single-v1"
        template = published[name + ("-multi-turn" if second else "")]
        references = {f"ref_answer_{n}": text for n, text in enumerate(sample.targets, start=1)}
        said = {"answer": first, "answer_1": first, "answer_2": "".join(second)}
        turns = {"question": sample.input, "question_1": sample.input, "question_2": sample.follow_ups[0]}
        assert system.strip() == template["system_prompt"].strip()
        assert lines_of(user) == lines_of(template["prompt_template"].format(**turns, **said, **references))


def lines_of(text):
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("evaluated", ["alignbench"], indirect=True)
def test_alignbenchs_judge_is_given_the_dimensions_of_each_question(evaluated, benchmark_files):
    config = benchmark_files / "alignbench" / "config"
    names = ("dimension_definition", "subcategory_question_mapping", "dimension_set")
    definition_of, kind_of, dimensions_of = (json.loads((config / f"{name}.json").read_text()) for name in names)
    for subject, system, user in asked(evaluated):
        named = dimensions_of[kind_of[subject.sample.metadata["subcategory"]]]
        listed = "".join(f"{n}. {name}: {definition_of[name]}\n" for n, name in enumerate(named, start=1))
        assert system == ""
        assert f"由于您评估的回答类型是{subject.sample.subset}，" in user
        assert user.split("进行评估:\n")[1].split("我们会给您提供")[0] == listed
        assert f"[参考答案开始]\n{subject.sample.targets[0]}\n[参考答案结束]" in user
