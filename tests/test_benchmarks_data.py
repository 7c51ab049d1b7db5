"""The catalog's benchmarks over the real files: counts, gold, prompts word for word. No benchmark text is kept here."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_eval import prompts, sampling, sources
from llm_eval.catalog import Catalog, split_reference
from llm_eval.records import Message, Sample
from llm_eval.settings import HOME, Settings
from llm_eval.specs import DatasetSpec
from llm_eval.stages.render import render_requests

CATALOG = Catalog((HOME / "include" / "catalog",))
NAMES = ["mmlu", "ceval", "cmmlu", "piqa", "siqa", "gsm8k"]
REFERENCES = [r for name in NAMES for r in (name, *(f"{name}_{v}" for v in CATALOG.variants(name)))]
ROWS = ("sources", "fields", "subsets", "samples_per_subset")
LETTERS = ["A", "B", "C", "D"]


class Benchmark(NamedTuple):
    dataset: DatasetSpec
    source: int
    samples: list[Sample]
    few_shot: list[Sample]


def read(reference: str, *folders: Path) -> Benchmark:
    settings = replace(Settings.from_environment({}), datasets=folders)
    dataset = CATALOG.dataset(reference)
    resolved = sources.resolve(dataset, settings)
    raw = sources.read(dataset, resolved, settings)
    questions, few_shot = sampling.to_samples(dataset, raw.questions), sampling.to_samples(dataset, raw.few_shot)
    return Benchmark(dataset, resolved.index, questions, few_shot)


@pytest.fixture(scope="module")
def benchmark_of(benchmark_files: Path) -> Callable[[str], Benchmark]:
    """A dataset as its local files have it. Variants that read the same rows in the same way share the samples."""
    once = cache(lambda reference: read(reference, benchmark_files))

    def benchmark(reference: str) -> Benchmark:
        dataset, plain = CATALOG.dataset(reference), once(split_reference(reference)[0])
        same = all(getattr(dataset, key) == getattr(plain.dataset, key) for key in ROWS)
        return plain._replace(dataset=dataset) if same else once(reference)

    return benchmark


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# What is in it.


@pytest.mark.parametrize(
    ("name", "rows", "subsets"),
    [
        ("mmlu", 14_042, 57),  # Hendrycks et al. 2021
        ("ceval", 1_346, 52),  # Huang et al. 2023, val split
        ("cmmlu", 11_582, 67),  # the authors' repository; the paper says 11,528
        ("piqa", 1_838, 0),
        ("siqa", 1_954, 0),
        ("gsm8k", 1_319, 0),
    ],
)
def test_row_counts_are_the_published_ones(benchmark_of, name, rows, subsets):
    benchmark = benchmark_of(name)

    assert (len(benchmark.samples), len(benchmark.dataset.subsets)) == (rows, subsets)
    assert {s.subset for s in benchmark.samples} == set(benchmark.dataset.subsets or {""})


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("mmlu", {"humanities": 13, "stem": 19, "social-science": 12, "other": 13}),
        ("ceval", {"stem": 20, "social-science": 10, "humanities": 11, "other": 11, "hard": 8}),
        ("cmmlu", {"humanities": 13, "stem": 17, "social-science": 22, "other": 15, "china-specific": 15}),
    ],
)
def test_group_sizes_are_opencompass_s(name, sizes):
    dataset = CATALOG.dataset(name)

    assert {group: len(members) for group, members in dataset.groups.items()} == sizes
    disjoint = [m for g, members in dataset.groups.items() if g not in ("hard", "china-specific") for m in members]
    assert sorted(disjoint) == sorted(dataset.subsets)


@pytest.mark.parametrize(
    ("group", "questions"), [("humanities", 4_705), ("stem", 3_153), ("social-science", 3_077), ("other", 3_107)]
)
def test_mmlu_groups_hold_the_questions_that_opencompass_counts(benchmark_of, group, questions):
    members = benchmark_of("mmlu").dataset.groups[group]

    assert sum(s.subset in members for s in benchmark_of("mmlu").samples) == questions


def test_ceval_titles_and_groups_are_the_authors(benchmark_files):
    official = json.loads((benchmark_files / "ceval" / "subject_mapping.json").read_text(encoding="utf-8"))
    dataset = CATALOG.dataset("ceval")

    assert dataset.subsets == {subject: chinese for subject, (_, chinese, _) in official.items()}
    for subject, (_, _, category) in official.items():
        assert subject in dataset.groups[category.lower().replace(" ", "-")]


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique(benchmark_of, name):
    samples = benchmark_of(name).samples

    assert len({s.id for s in samples}) == len(samples)


@pytest.mark.parametrize("name", ["mmlu", "ceval", "cmmlu", "piqa", "siqa"])
def test_every_target_is_a_label_and_every_label_is_a_target_somewhere(benchmark_of, name):
    samples = benchmark_of(name).samples

    assert all(len(s.targets) == 1 and s.targets[0] in s.labels for s in samples)
    assert {s.targets[0] for s in samples} == set(samples[0].labels)


@pytest.mark.parametrize("name", ["mmlu", "ceval", "cmmlu"])
def test_five_worked_examples_per_subject(benchmark_of, name):
    benchmark = benchmark_of(name)

    assert Counter(s.subset for s in benchmark.few_shot) == dict.fromkeys(benchmark.dataset.subsets, 5)
    assert all(s.targets[0] in s.labels for s in benchmark.few_shot)


def test_mmlu_texts_stand_as_the_files_have_them(benchmark_of, benchmark_files):
    samples = iter(benchmark_of("mmlu").samples)

    for subject in benchmark_of("mmlu").dataset.subsets:
        for row in table(benchmark_files / "mmlu" / "test" / f"{subject}_test.csv"):
            sample = next(samples)
            assert (sample.subset, sample.input) == (subject, row["question"])
            assert sample.choices == (row["choice0"], row["choice1"], row["choice2"], row["choice3"])
            assert sample.targets == (LETTERS[int(row["answer"])],)


def test_siqa_gold_agrees_with_the_label_file_and_with_the_rows_own_answer(benchmark_of, benchmark_files):
    labels = (benchmark_files / "siqa" / "dev-labels.lst").read_text().split()
    answers = [row["answer"] for row in objects(benchmark_files / "siqa" / "dev.jsonl")]
    samples = benchmark_of("siqa").samples

    assert [s.targets[0] for s in samples] == [" ABC"[int(label)] for label in labels]
    assert [s.choices["ABC".index(s.targets[0])] for s in samples] == answers


def test_gsm8k_gold_is_a_number_without_separators_and_no_part_of_the_solution(benchmark_of):
    benchmark = benchmark_of("gsm8k")

    for sample in (*benchmark.samples, *benchmark.few_shot):
        assert re.fullmatch(r"-?\d+(\.\d+)?", sample.targets[0])
        assert "####" not in sample.metadata["solution"]


# Other places, same samples.


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def mmlu_as_on_the_hub(files: Path, to: Path) -> None:
    for split in ("test", "dev"):
        rows = [
            {
                "question": row["question"],
                "subject": path.name.removesuffix(f"_{split}.csv"),
                "choices": [row[f"choice{i}"] for i in range(4)],
                "answer": int(row["answer"]),
            }
            for path in sorted((files / "mmlu" / split).glob("*.csv"), reverse=True)
            for row in table(path)
        ]
        parquet(to / "cais" / "mmlu" / "all" / f"{split}-00000-of-00001.parquet", rows)
    files_of = [f"  - {{split: {s}, path: all/{s}-*}}" for s in ("test", "dev")]
    header = "\n".join(["---", "configs:", "- config_name: all", "  data_files:", *files_of, "---", ""])
    (to / "cais" / "mmlu" / "README.md").write_text(header)


def gsm8k_as_on_the_hub(files: Path, to: Path) -> None:
    for split in ("test", "train"):
        rows = objects(files / "gsm8k" / f"{split}.jsonl")
        parquet(to / "openai" / "gsm8k" / "main" / f"{split}-00000-of-00001.parquet", rows)
    header = "---\nconfigs:\n- config_name: main\n  data_files:\n"
    header += "".join(f"  - {{split: {s}, path: main/{s}-*}}\n" for s in ("test", "train"))
    (to / "openai" / "gsm8k" / "README.md").write_text(header + "---\n")


def piqa_as_on_the_hub(files: Path, to: Path) -> None:
    labels = (files / "piqa" / "valid-labels.lst").read_text().split()
    rows = objects(files / "piqa" / "valid.jsonl")
    rows = [{**row, "label": int(label)} for row, label in zip(rows, labels, strict=True)]
    parquet(to / "ybisk" / "piqa" / "data" / "validation-00000-of-00001.parquet", rows)


def official_siqa(files: Path) -> list[dict[str, Any]]:
    return [
        {"context": row["context"], "question": row["question"]}
        | {f"answer{letter}": option for letter, option in zip("ABC", row["options"], strict=True)}
        for row in objects(files / "siqa" / "dev.jsonl")
    ]


def siqa_as_on_the_hub(files: Path, to: Path) -> None:
    labels = (files / "siqa" / "dev-labels.lst").read_text().split()
    rows = [{**row, "label": label} for row, label in zip(official_siqa(files), labels, strict=True)]
    parquet(to / "lighteval" / "siqa" / "data" / "validation-00000-of-00001.parquet", rows)


def mmlu_as_the_authors_have_it(files: Path, to: Path) -> None:
    for split in ("test", "dev"):
        (to / "mmlu" / split).mkdir(parents=True)
        for path in (files / "mmlu" / split).glob("*.csv"):
            with (to / "mmlu" / split / path.name).open("w", encoding="utf-8", newline="") as file:
                for row in table(path):
                    *cells, answer = row.values()
                    csv.writer(file).writerow([*cells, LETTERS[int(answer)]])


def siqa_as_the_authors_have_it(files: Path, to: Path) -> None:
    (to / "siqa").mkdir()
    (to / "siqa" / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in official_siqa(files)))
    (to / "siqa" / "dev-labels.lst").write_bytes((files / "siqa" / "dev-labels.lst").read_bytes())


def piqa_as_opencompass_has_it(files: Path, to: Path) -> None:
    (to / "piqa").mkdir()
    rows = [{"id": str(i), **row} for i, row in enumerate(objects(files / "piqa" / "valid.jsonl"))]
    (to / "piqa" / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (to / "piqa" / "dev-labels.lst").write_bytes((files / "piqa" / "valid-labels.lst").read_bytes())


def ceval_as_opencompass_has_it(files: Path, to: Path) -> None:
    (to / "ceval").mkdir()
    (to / "ceval" / "formal_ceval").symlink_to(files / "ceval")


@pytest.mark.parametrize(
    ("name", "source", "lay_out"),
    [
        ("mmlu", 1, mmlu_as_the_authors_have_it),
        pytest.param("mmlu", 2, mmlu_as_on_the_hub, marks=pytest.mark.slow),
        ("ceval", 1, ceval_as_opencompass_has_it),
        ("piqa", 1, piqa_as_opencompass_has_it),
        ("piqa", 2, piqa_as_on_the_hub),
        ("siqa", 1, siqa_as_the_authors_have_it),
        ("siqa", 2, siqa_as_on_the_hub),
        ("gsm8k", 1, gsm8k_as_on_the_hub),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_the_same_samples_come_out_of_every_source(benchmark_of, benchmark_files, tmp_path, name, source, lay_out):
    lay_out(benchmark_files, tmp_path)

    there = read(name, tmp_path)

    assert there.source == source
    assert there.samples == benchmark_of(name).samples
    assert there.few_shot == benchmark_of(name).few_shot


# How it is asked.


class Asked(NamedTuple):
    text: str
    messages: tuple[Message, ...]
    shots: int
    continuations: tuple[str, ...]


@pytest.fixture
def first_prompt(benchmark_of) -> Callable[[str], Asked]:
    """What a text model and a chat model are asked for the first sample of a dataset."""

    def ask(reference: str) -> Asked:
        dataset, _, samples, few_shot = benchmark_of(reference)
        (plain,) = render_requests(dataset, False, samples[:1], few_shot)
        (chat,) = render_requests(dataset, True, samples[:1], few_shot)
        shots = len(plain.shots)
        return Asked(prompts.text_prompt(plain, shots), prompts.chat_prompt(chat, shots), shots, plain.continuations)

    return ask


def turns(*contents: str) -> tuple[Message, ...]:
    return tuple(Message(("user", "assistant")[i % 2], content) for i, content in enumerate(contents))


def options(row: dict[str, Any], columns: list[str], mark: str = ".") -> str:
    return "\n".join(f"{letter}{mark} {row[column]}" for letter, column in zip(LETTERS, columns, strict=False))


@pytest.mark.parametrize("reference", REFERENCES)
def test_every_variant_can_be_rendered(first_prompt, reference):
    dataset = CATALOG.dataset(reference)

    asked = first_prompt(reference)

    assert bool(asked.continuations) == (dataset.prompt.kind != "generate")
    assert len(asked.messages) == 2 * asked.shots + 1


MMLU_COLUMNS = ["choice0", "choice1", "choice2", "choice3"]
MMLU_HINT = "There is a single choice question about abstract algebra. Answer the question by replying A, B, C or D."


@pytest.fixture
def mmlu_rows(benchmark_files) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The worked examples and the first question of MMLU's first subject, read without the code under test."""
    folder = benchmark_files / "mmlu"
    return table(folder / "dev" / "abstract_algebra_dev.csv"), table(folder / "test" / "abstract_algebra_test.csv")[0]


@pytest.mark.parametrize(("reference", "blank"), [("mmlu", ""), ("mmlu_gen", " "), ("mmlu_demo", " ")])
def test_mmlu_gen(first_prompt, mmlu_rows, reference, blank):
    shots, question = mmlu_rows

    def turn(row):
        return f"{MMLU_HINT}\nQuestion: {row['question']}\n{options(row, MMLU_COLUMNS)}\nAnswer:"

    asked = first_prompt(reference)

    answers = [LETTERS[int(row["answer"])] for row in shots]
    examples = "".join(f"{turn(row)} {answer}\n\n" for row, answer in zip(shots, answers, strict=True))
    assert asked.text == f"{examples}{turn(question)}{blank}"
    said = [said for row, answer in zip(shots, answers, strict=True) for said in (turn(row) + blank, answer)]
    assert asked.messages == turns(*said, turn(question) + blank)


def test_mmlu_ppl(first_prompt, mmlu_rows):
    shots, question = mmlu_rows

    def turn(row):
        return f"{row['question']}\n{options(row, MMLU_COLUMNS)}\nAnswer:"

    asked = first_prompt("mmlu_ppl")

    header = "The following are multiple choice questions (with answers) about  abstract algebra.\n\n"
    examples = "".join(f"{turn(row)} {LETTERS[int(row['answer'])]}\n\n" for row in shots)
    assert asked.text == f"{header}{examples}{turn(question)}"
    assert asked.messages[0].content == header + turn(shots[0])
    assert asked.continuations == (" A", " B", " C", " D")


def test_mmlu_gen_simple_evals(first_prompt, mmlu_rows):
    _, question = mmlu_rows

    asked = first_prompt("mmlu_gen-simple-evals")

    assert asked.text == (
        "Answer the following multiple choice question. The last line of your response should be of the following "
        "format: 'ANSWER: $LETTER' (without quotes) where LETTER is one of ABCD. Think step by step before answering."
        f"\n\n{question['question']}\n\n{options(question, MMLU_COLUMNS, ')')}"
    )
    assert asked.messages == turns(asked.text)


@pytest.fixture
def ceval_rows(benchmark_files) -> tuple[list[dict[str, str]], dict[str, str]]:
    folder = benchmark_files / "ceval"
    return table(folder / "dev" / "computer_network_dev.csv"), table(folder / "val" / "computer_network_val.csv")[0]


@pytest.mark.parametrize(("reference", "blank"), [("ceval", ""), ("ceval_gen", " "), ("ceval_demo", " ")])
def test_ceval_gen(first_prompt, ceval_rows, reference, blank):
    shots, question = ceval_rows

    def turn(row):
        hint = "以下是中国关于计算机网络考试的单项选择题，请选出其中的正确答案。"
        return f"{hint}\n{row['question']}\n{options(row, LETTERS)}\n答案:"

    asked = first_prompt(reference)

    assert asked.text == "".join(f"{turn(r)} {r['answer']}\n\n" for r in shots) + turn(question) + blank
    said = [said for row in shots for said in (turn(row) + blank, row["answer"])]
    assert asked.messages == turns(*said, turn(question) + blank)


def test_ceval_ppl(first_prompt, ceval_rows):
    shots, question = ceval_rows

    def turn(row):
        return f"{row['question']}\n{options(row, LETTERS)}\n答案:"

    asked = first_prompt("ceval_ppl")

    header = "以下是关于计算机网络的单项选择题，请直接给出正确答案的选项。\n"
    assert asked.text == header + "".join(f"{turn(r)} {r['answer']}\n\n" for r in shots) + turn(question)
    assert asked.continuations == (" A", " B", " C", " D")


@pytest.fixture
def cmmlu_rows(benchmark_files) -> tuple[list[dict[str, str]], dict[str, str]]:
    folder = benchmark_files / "cmmlu"
    return table(folder / "dev" / "agronomy.csv"), table(folder / "test" / "agronomy.csv")[0]


CMMLU_HINT = "以下是关于农学的单项选择题，请直接给出正确答案的选项。"


@pytest.mark.parametrize("reference", ["cmmlu", "cmmlu_gen", "cmmlu_demo"])
def test_cmmlu_gen(first_prompt, cmmlu_rows, reference):
    shots, question = cmmlu_rows

    def turn(row):
        return f"{CMMLU_HINT}\n题目：{row['Question']}\n{options(row, LETTERS)}"

    asked = first_prompt(reference)

    assert asked.text == "".join(f"{turn(r)}\n答案是: {r['Answer']}\n\n" for r in shots) + turn(question)
    said = [said for row in shots for said in (turn(row), f"答案是: {row['Answer']}")]
    assert asked.messages == turns(*said, turn(question))


def test_cmmlu_ppl(first_prompt, cmmlu_rows):
    shots, question = cmmlu_rows

    def turn(row):
        return f"题目：{row['Question']}\n{options(row, LETTERS)}\n答案是:"

    asked = first_prompt("cmmlu_ppl")

    examples = "".join(f"{turn(r)} {r['Answer']}\n\n" for r in shots)
    assert asked.text == f"{CMMLU_HINT}\n{examples}{turn(question)}"
    assert asked.continuations == (" A", " B", " C", " D")


def test_cmmlu_gen_cot(first_prompt, cmmlu_rows):
    _, question = cmmlu_rows

    asked = first_prompt("cmmlu_gen-cot")

    assert asked.text == (
        "请回答以下关于农学的单项选择题, 你回答的最后一行**必须**是以下格式 '答案: $选项' (不带引号), "
        f"其中选项是ABCD之一. 请在回答之前一步步思考.\n\n{question['Question']}\n\n{options(question, LETTERS, ')')}"
    )


def test_piqa_gen(first_prompt, benchmark_files):
    row = objects(benchmark_files / "piqa" / "valid.jsonl")[0]

    assert first_prompt("piqa").text == f"{row['goal']}\nA. {row['sol1']}\nB. {row['sol2']}\nAnswer:"


def test_piqa_ppl(first_prompt, benchmark_files):
    row = objects(benchmark_files / "piqa" / "valid.jsonl")[0]

    asked = first_prompt("piqa_ppl")

    assert [asked.text + solution for solution in asked.continuations] == [
        f"The following makes sense: \nQ: {row['goal']}\nA: {row[solution]}\n" for solution in ("sol1", "sol2")
    ]


@pytest.mark.parametrize("reference", ["siqa", "siqa_gen", "siqa_gen-first-option"])
def test_siqa_gen(first_prompt, benchmark_files, reference):
    row = objects(benchmark_files / "siqa" / "dev.jsonl")[0]

    a, b, c = row["options"]
    expected = f"{row['context']}\nQuestion: {row['question']}\nA. {a}\nB. {b}\nC. {c}\nAnswer:"
    assert first_prompt(reference).text == expected


def solved(row: dict[str, str]) -> str:
    """A worked solution in the published form: annotations cut by hand, the result in a sentence."""
    solution, _, result = row["answer"].partition("\n#### ")
    while "<<" in solution:
        before, _, rest = solution.partition("<<")
        solution = before + rest.partition(">>")[2]
    return f"{solution}\nThe answer is {result}"


def test_gsm8k_shows_the_first_four_training_problems(first_prompt, benchmark_files):
    shots = objects(benchmark_files / "gsm8k" / "train.jsonl")[:4]
    question = objects(benchmark_files / "gsm8k" / "test.jsonl")[0]["question"]

    asked = first_prompt("gsm8k")

    examples = "".join(f"Question: {row['question']}\nAnswer: {solved(row)}\n\n" for row in shots)
    assert asked.text == f"{examples}Question: {question}\nAnswer:"


def test_gsm8k_gen_shows_the_four_problems_of_the_published_prompt(first_prompt, benchmark_files):
    known = ["Angelo and Melanie want", "Mark's basketball team", "Bella has two times", "A group of 4 fruit baskets"]
    train = objects(benchmark_files / "gsm8k" / "train.jsonl")
    shots = [next(row for row in train if row["question"].startswith(beginning)) for beginning in known]
    question = objects(benchmark_files / "gsm8k" / "test.jsonl")[0]["question"]

    def turn(text):
        return f"Question: {text}\nLet's think step by step\nAnswer:"

    asked = first_prompt("gsm8k_gen")

    said = [said for row in shots for said in (turn(row["question"]), solved(row))]
    assert asked.messages == turns(*said, turn(question))
    assert asked.messages[1].content.endswith("\nThe answer is 4")


def test_demo_asks_the_first_four_questions_of_each_subject(benchmark_of):
    whole, demo = benchmark_of("mmlu_gen"), benchmark_of("mmlu_demo")

    assert len(demo.samples) == 4 * 57
    assert [s.id for s in demo.samples[4:8]] == [s.id for s in whole.samples if s.subset == "anatomy"][:4]
    assert demo.few_shot == whole.few_shot
