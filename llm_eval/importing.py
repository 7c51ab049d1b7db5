"""Makes a large library's import cheap. The imports are most of a short run, and much of each serves nobody here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


@contextmanager
def absent(*packages: str) -> Iterator[None]:
    """Inside, `packages` are not installed: for a library that does without them where they are not there.

    A package that is loaded already stays: there is nothing to save.
    """
    with _asked_first(_Refusing(packages)):
        yield


@contextmanager
def deferred(*modules: str) -> Iterator[None]:
    """Inside, an import of one of `modules` loads it only when something of it is first used, then or later."""
    with _asked_first(_Wrapping(modules, _Later)):
        yield


@contextmanager
def mended(module: str, mend: Callable[[ModuleType], None]) -> Iterator[None]:
    """Inside, an import of `module` calls `mend` with it as soon as it has run, before its importer goes on."""
    with _asked_first(_Wrapping((module,), lambda loader: _Mended(loader, mend))):
        yield


@contextmanager
def _asked_first(finder: MetaPathFinder) -> Iterator[None]:
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Refusing(MetaPathFinder):
    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname in self._packages:
            raise ModuleNotFoundError(f"{fullname} is left out on purpose here", name=fullname)


class _Wrapping(MetaPathFinder):
    def __init__(self, modules: Collection[str], wrapped: Callable[[Loader], Loader]) -> None:
        self._modules, self._wrapped = modules, wrapped

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname in self._modules else None
        if spec is not None and spec.loader is not None:
            spec.loader = self._wrapped(spec.loader)
        return spec


class _Wrapped(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader


class _Mended(_Wrapped):
    def __init__(self, loader: Loader, mend: Callable[[ModuleType], None]) -> None:
        super().__init__(loader)
        self._mend = mend

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        self.loader.exec_module(module)
        self._mend(module)


class _Later(_Wrapped):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        vars(module).pop("__path__", None)
        module.__class__ = Dormant


class Dormant(ModuleType):
    """A module that runs as soon as it is asked for anything that is not there yet, a submodule for one.

    Python's own questions do not wake it: the standard library's lazy modules are all loaded by the first `inspect`
    of a frame, which looks for `__file__` in whatever is imported.
    """

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        if spec is None or spec.loader is None or (name.startswith("__") and name != "__path__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        spec.loader.exec_module(self)
        return getattr(self, name)
