"""The catalog: one YAML file per dataset, model or suite, checked on reading, later folders laid over earlier ones."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from llm_eval.errors import InvalidSpec, UnknownName
from llm_eval.specs import DatasetSpec, JudgeSpec, ModelSpec, Spec, SuiteSpec

S = TypeVar("S", bound=Spec)

KINDS: dict[str, type[Spec]] = {
    "datasets": DatasetSpec,
    "models": ModelSpec,
    "judges": JudgeSpec,
    "suites": SuiteSpec,
}


def split_reference(reference: str) -> tuple[str, str | None]:
    """ "ceval_ppl" → ("ceval", "ppl"); "ceval" → ("ceval", None)."""
    name, _, variant = reference.partition("_")
    return name, variant or None


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`override` laid over `base`, key by key; a null takes the key away; lists and scalars replace.

    A mapping that names another `kind` replaces the old one whole: the keys of one kind mean nothing to another.
    """
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(old, Mapping) and not _other_kind(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _other_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "kind" in old and "kind" in new and old["kind"] != new["kind"] and "path" in new


def set_dotted(values: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """`values` with the nested entry `a.b.c` replaced."""
    head, _, rest = key.partition(".")
    inner = values.get(head)
    new = set_dotted(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value
    return merge(values, {head: None}) | ({} if new is None else {head: new})


def parse(spec: type[S], values: Mapping[str, Any], where: str) -> S:
    """`values` as a spec. Raises InvalidSpec that names the place, each faulty field, and what is allowed there."""
    from pydantic import ValidationError

    try:
        return spec.model_validate(values)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(spec, f)}" for f in error.errors(include_input=False, include_url=False))
        raise InvalidSpec(f"{where}: {error.error_count()} fault(s)\n{faults}") from None


def _fault(spec: type[Spec], fault: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "(whole file)"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "unknown key"
        if len(fault["loc"]) == 1:
            message += f". Keys of a {spec.__name__}: {', '.join(spec.model_fields)}"
    return f"{place}: {message}"


@cache
def _yaml(path: Path, state: tuple[int, ...]) -> Any:
    """Parsed YAML; `state` is there so that an edited file is read again."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader, the C one
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path}: not valid YAML: {error}") from error
    except OSError as error:
        raise InvalidSpec(f"{path}: cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that can be named. Reads a file when its name is first asked for."""

    folders: tuple[Path, ...]
    _files: dict[str, dict[str, Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in self.folders:
            if not folder.is_dir():
                raise InvalidSpec(f"{folder}: there is no such catalog folder (--catalog, LLM_EVAL_CATALOG)")
        for kind in KINDS:
            self._files[kind] = {}
            for folder in self.folders:
                self._files[kind].update(_files_of(folder / kind))

    def names(self, kind: str, patterns: Iterable[str] = ()) -> list[str]:
        """Names of one kind, sorted; with patterns, those that contain or match (`*`, `?`) every one of them."""
        patterns = list(patterns)
        return [n for n in sorted(self._files[kind]) if all(fnmatch.fnmatch(n, f"*{p}*") for p in patterns)]

    def strays(self) -> list[Path]:
        """Files in the catalog's folders that look like catalog files but are not read: `.yml` instead of `.yaml`."""
        return sorted(path for folder in self.folders for kind in KINDS for path in (folder / kind).glob("*.yml"))

    def path(self, kind: str, name: str) -> Path:
        if name not in self._files[kind]:
            raise UnknownName(kind.removesuffix("s"), name, self._files[kind], hint=f"See `llm-eval list {kind}`.")
        return self._files[kind][name]

    def _values(self, kind: str, name: str) -> dict[str, Any]:
        path = self.path(kind, name)
        stat = path.stat()  # a file may be written again within a tick of its clock, or replaced by an older one
        values = _yaml(path, (stat.st_mtime_ns, stat.st_size, stat.st_ino))
        if not isinstance(values, dict):
            raise InvalidSpec(f"{path}: a {kind.removesuffix('s')} file is a mapping of keys to values")
        if values.get("name") != name:
            raise InvalidSpec(f"{path}: `name` must be the file's own name, {name!r}")
        return values

    def model(self, name: str, overrides: Mapping[str, Any] | None = None) -> ModelSpec:
        values = _overridden(self._values("models", name), overrides)
        return parse(ModelSpec, values, _with(str(self.path("models", name)), overrides))

    def judge(self, name: str, overrides: Mapping[str, Any] | None = None) -> JudgeSpec:
        values = _overridden(self._judge_values(name), overrides)
        return parse(JudgeSpec, values, _with(str(self.path("judges", name)), overrides))

    def _judge_values(self, name: str) -> dict[str, Any]:
        """What a judge's file says, laid over the one that it `extends`."""
        values = dict(self._values("judges", name))
        seen = [name]
        while (below := values.pop("extends", None)) is not None:
            if below in seen:
                raise InvalidSpec(f"{self.path('judges', name)}: judges extend one another in a circle")
            seen.append(below)
            if below not in self._files["judges"]:
                hint = f"{self.path('judges', seen[-2])} extends it."
                raise UnknownName("judge", below, self._files["judges"], hint=hint)
            values = {**merge(self._values("judges", below), values), "name": name}
        return values

    def suite(self, name: str) -> SuiteSpec:
        return parse(SuiteSpec, self._values("suites", name), str(self.path("suites", name)))

    def suites(self) -> list[SuiteSpec]:
        """All of them, by name."""
        return [self.suite(name) for name in self.names("suites")]

    def variants(self, name: str) -> list[str]:
        """Names of a dataset's variants, in the file's order."""
        return list(self._values("datasets", name).get("variants") or {})

    def judge_names(self, reference: str) -> tuple[str, ...]:
        """Those who judge a dataset; its file is checked only if it names any, which most do not."""
        values = self._values("datasets", split_reference(reference)[0])
        variants = (values.get("variants") or {}).values()
        if not any(isinstance(layer, dict) and "judge" in layer for layer in (values, *variants)):
            return ()
        judging = self.dataset(reference).judge
        return () if judging is None else judging.judges

    def dataset(self, reference: str, overrides: Mapping[str, Any] | None = None) -> DatasetSpec:
        """The dataset that `name` or `name_variant` stands for: variant laid over, no variants left in it."""
        name, variant = split_reference(reference)
        values = self._values("datasets", name)
        where = str(self.path("datasets", name))
        variants = values.get("variants") or {}
        if variant is not None:
            where += f" (variant {variant!r})"
            for layer in _layers(name, variants, variant, where):
                values = merge(values, layer)
        values = _overridden({k: v for k, v in values.items() if k != "variants"}, overrides)
        return parse(DatasetSpec, values, _with(where, overrides))


def _layers(dataset: str, variants: Mapping[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    """What a variant lays over its dataset, lowest first: the variants it `extends`, then its own keys."""
    layers: list[dict[str, Any]] = []
    chain = [name]
    while True:
        if chain[-1] not in variants:
            raise UnknownName(f"variant of dataset {dataset!r}", chain[-1], variants, hint=f"They stand in {where}.")
        values = dict(variants[chain[-1]] or {})
        below = values.pop("extends", None)
        layers.insert(0, values)
        if below is None:
            return layers
        if below in chain:
            raise InvalidSpec(f"{where}: variants extend one another in a circle: {' → '.join([*chain, below])}")
        chain.append(below)


def _with(where: str, overrides: Mapping[str, Any] | None) -> str:
    """The place to look for a mistake: the file may be right, and the run's own override wrong."""
    return f"{where}, with this run's overrides of {', '.join(overrides)}" if overrides else where


def _overridden(values: Mapping[str, Any], overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    result = dict(values)
    for key, value in (overrides or {}).items():
        result = set_dotted(result, key, value)
    return result


def _files_of(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
