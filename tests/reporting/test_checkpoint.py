"""The files of a checkpoint's report."""

from __future__ import annotations

import pytest

from llm_eval import storage
from llm_eval.comparison import build_report
from llm_eval.errors import InputError
from llm_eval.reporting import report_files, report_from_json, report_text
from llm_eval.specs import SuiteSpec
from llm_eval.stages.checkpoint_report import checkpoint_report, newest_checkpoint, read_checkpoint_report
from tests.builders import House
from tests.comparison.builders import checkpoint, publish, right
from tests.reporting.test_page import Page

SUITE = SuiteSpec.model_validate(
    {"name": "nightly", "models": ["tiny"], "datasets": ["mmlu", "arc", "piqa"], "gate": {"max_drop": 0.01}}
)


def publish_two(root, after=0.5):
    """The second checkpoint loses on mmlu, keeps arc, and has no piqa."""
    for number, share in ((1, 0.6), (2, after)):
        publish(root, right(round(share * 1000), 1000), **checkpoint(number))
        publish(
            root, {"law": right(30, 60), "art": right(20, 60)}, headline="macro", dataset="arc", **checkpoint(number)
        )


def test_the_report_as_text(tmp_path):
    publish_two(str(tmp_path))

    text = report_text(build_report(str(tmp_path), SUITE, "tiny", "step-2", {"piqa": "late"}))

    first, second = text.split("\n\n")[1:]
    assert text.startswith("tiny@step-2 on nightly\n\n")
    assert [" ".join(line.split()) for line in first.splitlines()[2:]] == [
        "mmlu accuracy 50.00 ±3.1 60.00 step-1 -10.00 -12.02 to -8.29 <0.0001 <0.0001 worse",
        "arc accuracy 41.67 ±8.5 41.67 step-1 0.00 -4.25 to +4.25 1.0000 1.0000 no clear difference",
    ]
    assert second.splitlines()[:3] == [
        "Missing: piqa (late).",
        "Gate failed, 2 of 3 datasets checked (max_drop 0.01 against previous, confidence 0.95).",
        "mmlu: accuracy is 10.00 points lower than at step-1 (60.00 → 50.00); allowed: 1 points "
        "(p 3.7e-21, corrected for 2 datasets)",
    ]


def test_json_gives_the_report_back(tmp_path):
    publish_two(str(tmp_path))
    report = build_report(str(tmp_path), SUITE, "tiny", "step-2")

    assert report_from_json(report_files(report)["report.json"]) == report


def test_the_page_is_whole_and_loads_nothing(tmp_path):
    publish_two(str(tmp_path))
    publish(str(tmp_path), right(1, 9), **{**checkpoint(3), "checkpoint": '"><script>alert(1)</script>'})
    report = build_report(str(tmp_path), SUITE, "tiny", '"><script>alert(1)</script>')

    text = report_files(report)["report.html"].decode()

    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"}
    assert page.named("meta")[1]["content"].startswith("default-src 'none';")
    assert "Missing: arc (no result), piqa (no result)." in text


def test_a_report_of_nothing_but_missing_datasets(tmp_path):
    files = report_files(build_report(str(tmp_path), SUITE, "tiny", "step-1", {"mmlu": "failed"}))

    assert files["report.txt"].decode().splitlines()[:5] == [
        "tiny@step-1 on nightly",
        "",
        "Missing: mmlu (failed).",
        "Missing: arc (no result).",
        "Missing: piqa (no result).",
    ]
    Page(files["report.html"].decode())


def test_four_files_are_written_and_read_again(house: House):
    root = house.settings.root
    publish_two(root)

    report = checkpoint_report(house.settings, SUITE, "tiny", "step-2", {"piqa": "failed"})

    names = [path.rpartition("/")[2] for path in storage.files(f"{root}/reports/nightly/tiny/step-2")]
    assert names == ["report.html", "report.json", "report.md", "report.txt"]
    assert read_checkpoint_report(house.settings, "nightly", "tiny", "step-2") == report
    with pytest.raises(InputError, match="there is no report of tiny@step-3"):
        read_checkpoint_report(house.settings, "nightly", "tiny", "step-3")


def test_a_checkpoint_of_any_name_stays_in_its_folder(house: House):
    publish(house.settings.root, [1, 0], **{**checkpoint(1), "checkpoint": "../../x y"})

    checkpoint_report(house.settings, SUITE, "tiny", "../../x y")

    (folder,) = (house.folder / "root" / "reports" / "nightly" / "tiny").iterdir()
    assert folder.name.startswith("x-y-")


def test_the_newest_checkpoint_with_results(house: House):
    publish_two(house.settings.root)

    assert newest_checkpoint(house.settings, SUITE, "tiny") == "step-2"
    with pytest.raises(InputError, match=r"does not evaluate model 'big'\. It has: tiny"):
        newest_checkpoint(house.settings, SUITE, "big")
