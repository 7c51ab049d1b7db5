"""What the images are made of, by their lists."""

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.compose.files import CHECKOUT

LISTS = CHECKOUT / "include" / "images"


def requirements(file: Path) -> dict[str, str]:
    """Name → what of it is allowed, the lists that a list names included."""
    found: dict[str, str] = {}
    for line in file.read_text().splitlines():
        text = line.split("#")[0].strip()
        if text.startswith("-r "):
            found |= requirements(file.parent / text.removeprefix("-r "))
        elif text and not text.startswith("-"):
            requirement = Requirement(text)
            found[canonicalize_name(requirement.name)] = str(requirement.specifier)
    return found


def dependencies_of(name: str) -> set[str]:
    """Names in the lock, of what a package there asks for and of whatever that asks for."""
    asked_by: dict[str, set[str]] = {}
    current = ""
    for line in (CHECKOUT / "requirements.txt").read_text().splitlines():
        if match := re.match(r"(?P<name>[A-Za-z0-9._-]+)(\[.*\])?==", line):
            current = canonicalize_name(match["name"])
        elif match := re.match(r"    #(?: via)?\s+(?P<by>[A-Za-z0-9._-]+)$", line):
            asked_by.setdefault(canonicalize_name(match["by"]), set()).add(current)
    found, waiting = set(), [name]
    while waiting:
        for dependency in asked_by.get(waiting.pop(), set()) - found:
            found.add(dependency)
            waiting.append(dependency)
    return found


def test_the_lists_are_together_what_the_project_stands_on_in_the_same_versions():
    lists = requirements(LISTS / "airflow.in") | requirements(LISTS / "inference.in")
    assert lists == requirements(CHECKOUT / "requirements.in")


def test_nothing_in_the_image_of_airflow_asks_for_torch():
    names = set(requirements(LISTS / "airflow.in"))
    asked = names.union(*(dependencies_of(name) for name in names))
    assert not asked & {"torch", "transformers", "accelerate"}


def test_nothing_in_the_image_of_inference_asks_for_airflow():
    names = set(requirements(LISTS / "inference.in"))
    asked = names.union(*(dependencies_of(name) for name in names))
    assert not {name for name in asked if "airflow" in name}


def test_what_both_images_need_is_written_once():
    shared = requirements(LISTS / "stages.in")
    for name in ("airflow.in", "inference.in"):
        own = (LISTS / name).read_text().replace("-r stages.in", "")
        assert not {line.split("=")[0].strip() for line in own.splitlines()} & set(shared)


def test_every_program_that_the_compose_file_starts_in_an_image_of_ours_is_in_it():
    text = (CHECKOUT / "docker-compose.yaml").read_text()
    programs = re.findall(r"/opt/llm-eval/(include/\S+?\.py)", text)
    assert programs
    assert [name for name in programs if not (CHECKOUT / name).is_file()] == []
