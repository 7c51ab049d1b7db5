"""The template that a site edits: read strictly, and checked as the pod that it becomes."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from llm_eval.errors import InputError
from llm_eval.manifests import pods
from llm_eval.manifests.parts import Mistake, Part, entries, mapping, spec
from llm_eval.manifests.security import BASE
from llm_eval.settings import HOME

VARIABLE = "LLM_EVAL_POD_TEMPLATE"
SHIPPED = HOME / "include" / "pod_template.yaml"
DECIDED_ELSEWHERE = ("image", "command", "args")


class InvalidTemplate(InputError):
    pass


def in_use(environment: Mapping[str, str]) -> Path:
    return Path(environment.get(VARIABLE) or SHIPPED).expanduser()


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice; YAML's own rule is that the last one counts, without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.MarkedYAMLError(
                problem=f"{', '.join(map(repr, sorted(twice, key=str)))} is there twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)


def read(path: Path) -> Part:
    """The one pod that the file describes. Raises InvalidTemplate, which names the file and the next step."""
    try:
        documents = [d for d in yaml.load_all(path.read_text(encoding="utf-8"), _StrictLoader) if d is not None]
    except OSError as error:
        raise InvalidTemplate(f"{path}: cannot be read ({error.strerror}). {VARIABLE} names it: correct it") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidTemplate(f"{path}: is no YAML: {error}") from error
    kinds = [(mapping(d).get("apiVersion"), mapping(d).get("kind")) for d in documents]
    if kinds != [("v1", "Pod")]:
        found = ", ".join(f"{kind} of {version}" for version, kind in kinds) or "nothing"
        raise InvalidTemplate(f"{path}: a template is one Pod of v1; found: {found}")
    return mapping(documents[0])


def usable(path: Path) -> Part:
    """As `read`, and with a container that a stage can run in. Raises InvalidTemplate."""
    template = read(path)
    for mistake in mistakes(template):
        if mistake.field == "spec.containers":
            raise InvalidTemplate(f"{path}: {mistake}")
    return template


def mistakes(template: Part, priority_classes: Collection[str] | None = None) -> list[Mistake]:
    """What would be wrong with every pod that is made of it."""
    inside = list(entries("spec.containers", spec(template).get("containers")))
    found = []
    # The operator's merge goes by place, not by name.
    if not inside or inside[0][1].get("name") != BASE:
        names = ", ".join(repr(container.get("name")) for _, container in inside) or "none"
        problem = f"the first has to be called {BASE!r}, as the stage runs in it. Here: {names}"
        found.append(Mistake("spec.containers", problem))
    for path, container in inside[:1]:
        problem = "is never used: the model's YAML and the stage decide it. Take it out of the template"
        found += [Mistake(f"{path}.{name}", problem) for name in DECIDED_ELSEWHERE if name in container]
    return [*found, *pods.mistakes(_completed(template), priority_classes)]


def _completed(template: Part) -> Part:
    """With what every run adds, so that its absence is no mistake."""
    given = spec(template).get("containers")
    made = [{"image": "its-models", **c} if mapping(c).get("name") == BASE else c for c in given or []]
    return {**template, "spec": {"restartPolicy": "Never", **spec(template), "containers": made}}


def mistakes_of_file(path: Path) -> list[str]:
    """One message per mistake, with the file's name; of a file that is no template, why it is none."""
    try:
        return [f"{path}: {mistake}" for mistake in mistakes(read(path))]
    except InvalidTemplate as error:
        return [str(error)]
