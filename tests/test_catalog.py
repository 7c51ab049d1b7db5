from __future__ import annotations

import os

import pytest

from llm_eval.catalog import Catalog, merge, set_dotted
from llm_eval.check import mistakes
from llm_eval.errors import InvalidSpec, UnknownName
from tests.builders import DATASET


def test_a_variant_is_laid_over_key_by_key(house):
    house.dataset(
        generation={"max_tokens": 9, "stop": ["x"]}, variants={"long": {"generation": {"max_tokens": 99}}, "same": None}
    )

    long = house.catalog.dataset("colours_long")

    assert (long.generation.max_tokens, long.generation.stop) == (99, ("x",))
    assert house.catalog.dataset("colours_same").generation.max_tokens == 9


def test_a_variant_may_start_from_another(house):
    house.dataset(
        variants={
            "long": {"generation": {"max_tokens": 99}},
            "demo": {"extends": "long", "samples_per_subset": 4},
            "tiny": {"extends": "demo", "samples_per_subset": 1},
        }
    )

    tiny = house.catalog.dataset("colours_tiny")

    assert (tiny.generation.max_tokens, tiny.samples_per_subset) == (99, 1)


def test_variants_that_extend_one_another_are_refused(house):
    house.dataset(variants={"a": {"extends": "b"}, "b": {"extends": "a"}})

    with pytest.raises(InvalidSpec, match="in a circle: a → b → a"):
        house.catalog.dataset("colours_a")


def test_a_variant_that_extends_nothing_known_is_refused(house):
    house.dataset(variants={"a": {"extends": "gen"}})

    with pytest.raises(UnknownName, match="'gen' is not known"):
        house.catalog.dataset("colours_a")


def test_null_takes_a_key_away():
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}) == {"a": {"c": 2}}


def test_lists_replace_rather_than_grow():
    assert merge({"a": [1, 2]}, {"a": [3]}) == {"a": [3]}


def test_another_kind_replaces_the_whole_mapping():
    old = {"backend": {"kind": "transformers", "path": "x", "dtype": "float32"}}

    assert merge(old, {"backend": {"kind": "replay", "path": "y"}}) == {"backend": {"kind": "replay", "path": "y"}}


def test_a_dotted_key_reaches_into_nested_values():
    assert set_dotted({"a": {"b": {"c": 1, "d": 2}}}, "a.b.c", 5) == {"a": {"b": {"c": 5, "d": 2}}}


def test_a_dotted_key_makes_what_is_not_there():
    assert set_dotted({}, "a.b", 5) == {"a": {"b": 5}}


def test_a_later_folder_lies_over_an_earlier_one(house, tmp_path):
    other = tmp_path / "other" / "models"
    other.mkdir(parents=True)
    (other / "canned.yaml").write_text("name: canned\nchat: true\nbackend: {kind: scripted}\n")

    assert Catalog((house.catalog_folder, other.parent)).model("canned").chat is True


def test_an_unknown_dataset_suggests_close_names(house):
    with pytest.raises(UnknownName, match=r"dataset 'colors' is not known\. Did you mean 'colours'"):
        house.catalog.dataset("colors")


def test_an_unknown_variant_lists_those_there_are(house):
    house.dataset(variants={"ppl": {}})

    with pytest.raises(
        UnknownName, match=r"variant of dataset 'colours' 'gen' is not known.*Known: ppl.*colours\.yaml"
    ):
        house.catalog.dataset("colours_gen")


def test_an_unknown_key_names_the_file_the_key_and_the_allowed_ones(house):
    house.dataset(promt={})

    with pytest.raises(
        InvalidSpec, match=r"(?s)colours\.yaml: 1 fault.*promt: unknown key\. Keys of a DatasetSpec: .*prompt"
    ):
        house.catalog.dataset("colours")


def test_every_fault_of_a_file_is_named_at_once(house):
    house.dataset(generation={"max_tokens": 0, "temprature": 1})

    with pytest.raises(InvalidSpec, match=r"(?s)2 fault.*generation\.max_tokens.*generation\.temprature"):
        house.catalog.dataset("colours")


def test_a_pasted_secret_never_reaches_the_message(house):
    house.model(backend={"kind": "scripted", "api_key": "sk-very-secret"})

    with pytest.raises(InvalidSpec) as caught:
        house.catalog.model("canned")

    assert "sk-very-secret" not in str(caught.value)
    assert "api_key" in str(caught.value)


@pytest.mark.parametrize("text", ["a: [1", "\x00", "- 1", "", "name: other\n"])
def test_a_file_that_is_no_mapping_with_its_own_name_is_refused(house, text):
    (house.catalog_folder / "models" / "canned.yaml").write_text(text)

    with pytest.raises(InvalidSpec, match=r"canned\.yaml"):
        house.catalog.model("canned")


def test_yaml_can_not_make_objects(house):
    (house.catalog_folder / "models" / "canned.yaml").write_text("name: !!python/object/apply:os.getcwd []\n")

    with pytest.raises(InvalidSpec, match="not valid YAML"):
        house.catalog.model("canned")


def changed_in_place(path, text):
    path.write_text(text)


def replaced(path, text):
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


@pytest.mark.parametrize(("change", "chat"), [(changed_in_place, "false"), (replaced, "false ")])
def test_a_file_that_changed_is_read_again_although_its_time_is_the_same(house, change, chat):
    path = house.catalog_folder / "models" / "canned.yaml"
    text = "name: canned\nbackend: {kind: scripted}\nchat: "
    path.write_text(text + "true  ")
    before, stat = house.catalog.model("canned").chat, path.stat()

    change(path, text + chat)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert (before, house.catalog.model("canned").chat) == (True, False)


def test_a_missing_catalog_folder_is_named(tmp_path):
    with pytest.raises(InvalidSpec, match="no such catalog folder"):
        Catalog((tmp_path / "nowhere",))


def test_a_file_with_the_other_suffix_is_named_by_the_check_and_takes_nothing_down(house):
    stray = house.catalog_folder / "models" / "canned.yml"
    stray.write_text("name: canned\n")

    assert mistakes(house.catalog) == [f"{stray}: is not read; catalog files end in .yaml"]
    assert house.catalog.model("canned").chat is False


def test_a_broken_file_is_named_once_however_many_suites_name_it(house):
    house.model(backend={"kind": "scripted", "reply": "A"})
    house.suite()
    house.suite(name="weekly")

    (mistake,) = mistakes(house.catalog)

    assert "canned.yaml" in mistake


def test_an_unknown_name_in_a_suite_is_named_with_the_suite(house):
    house.suite(datasets=["colours", "colors"])

    (mistake,) = mistakes(house.catalog)

    assert mistake.startswith("suite 'nightly': dataset 'colors' is not known. Did you mean 'colours'")


def test_patterns_narrow_the_names(house):
    for name in ("ceval", "cmmlu", "mmlu"):
        house.dataset(name=name)

    assert house.catalog.names("datasets", ["mmlu"]) == ["cmmlu", "mmlu"]
    assert house.catalog.names("datasets", ["c*val"]) == ["ceval"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"groups": {"warm": ["red"]}}, "unknown subsets: red"),
        ({"groups": {"all": []}}, "'all' is the name of the whole dataset"),
        ({"subsets": ["a"], "groups": {"a": ["a"]}}, "has the name of a subset"),
        ({"extract": []}, "needs `extract`"),
        ({"metrics": []}, "metrics"),
        ({"prompt": {**DATASET["prompt"], "few_shot": {"select": "first"}}}, "needs `count`"),
        ({"prompt": {**DATASET["prompt"], "few_shot": {"select": "fixed"}}}, "either `rows` or `examples`"),
        ({"prompt": {**DATASET["prompt"], "kind": "choices"}}, "no text to extract from"),
        ({"name": "Colours"}, "name"),
    ],
)
def test_what_makes_no_sense_is_refused(house, changes, fault):
    house.dataset(**{**changes, "name": "colours"}) if "name" not in changes else house.dataset(**changes)

    with pytest.raises(InvalidSpec, match=fault):
        house.catalog.dataset(changes.get("name", "colours"))


def test_a_variant_that_breaks_the_schema_is_named(house):
    house.dataset(variants={"odd": {"generation": {"max_tokens": "many"}}})

    with pytest.raises(InvalidSpec, match=r"variant 'odd'.*"):
        house.catalog.dataset("colours_odd")


def test_a_suite_names_a_model_once(house):
    house.suite(models=["canned", "canned"])

    with pytest.raises(InvalidSpec, match="named twice: canned"):
        house.catalog.suite("nightly")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"notify": [{"kind": "email", "connection": "mail"}]}, "notify.0: an email channel needs `to`"),
        ({"notify": [{"kind": "slack", "connection": "chat", "to": ["a@b.c"]}]}, "notify.0: `to` is for email"),
        (
            {"notify": [{"kind": "email", "connection": "m", "to": ["a@b.c, d@e.f"]}]},
            "notify.0.to.0: String should match",
        ),
        ({"notify": [{"kind": "slack", "connection": "https://hooks/T0"}]}, "notify.0.connection: String should match"),
        ({"notify": [{"kind": "slack", "connection": "c", "events": []}]}, "notify.0.events: "),
        ({"notify": [{"kind": "slack", "connection": "c", "events": ["success"]}]}, "notify.0.events.0: "),
        ({"late_after_hours": 6}, r"\(whole file\): late_after_hours without a channel"),
        (
            {"late_after_hours": 0, "notify": [{"kind": "slack", "connection": "c"}]},
            "late_after_hours: Input should be greater than 0",
        ),
    ],
)
def test_a_mistake_in_who_is_told_is_named(house, changes, fault):
    house.suite(**changes)

    with pytest.raises(InvalidSpec, match=fault):
        house.catalog.suite("nightly")


def test_a_channel_is_told_of_everything_unless_it_says_otherwise(house):
    house.suite(notify=[{"kind": "slack", "connection": "chat"}])

    (channel,) = house.catalog.suite("nightly").notify

    assert channel.events == ("failure", "late", "gate", "leaderboard")
