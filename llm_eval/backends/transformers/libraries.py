"""torch and transformers without what only training, compiling and distributed weights need: half of their import.

transformers asks `is_X_available` what is installed and imports all of it, whether a model uses it or not, and its
packages read the source of every model there is. Another version that does these things otherwise is imported as it is.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from llm_eval import garbage, importing

# Losses of object detection, assisted generation, and weights spread over processes: a model here is one process's.
_NOT_NEEDED = ("is_scipy_available", "is_sklearn_available", "is_torch_distributed_available")
_COMPILER = "torch._dynamo"
_USED_OF_COMPILER = f"{_COMPILER}._trace_wrapped_higher_order_op"  # which imports nothing else of it
_MARKS = ("allow_in_graph", "assume_constant_result", "disable")


def for_tokens() -> None:
    """Import what loads tokenizers; nothing happens where transformers is loaded already."""
    if "transformers" in sys.modules:
        return
    # OpenMP's threads wait for each other's next piece of work in a loop that burns a core: on a shared machine three
    # times the CPU time for less speed. Read when torch is loaded; who sets it knows better.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with garbage.frozen():
        _put_compiler_off()
        with importing.mended("transformers.utils.import_utils", _without_what_is_not_needed):
            importlib.import_module("transformers")


def for_models() -> None:
    """Import what loads models too."""
    for_tokens()
    with garbage.frozen():
        importlib.import_module("transformers.models.auto.modeling_auto")
        importlib.import_module("transformers.modeling_layers")  # what every model imports, and what that imports


def _without_what_is_not_needed(import_utils: Any) -> None:
    for probe in _NOT_NEEDED:
        if hasattr(import_utils, probe):
            setattr(import_utils, probe, _is_not_there)
    scan, names = (getattr(import_utils, name, None) for name in ("create_import_structure_from_path", "fetch__all__"))
    if scan is not None and names is not None:
        # The source of all models is read to learn their names, once for transformers and once for transformers.models,
        # which spells the folder otherwise, and so does not find what was remembered; and all lines are looked at.
        import_utils.create_import_structure_from_path = lambda path: scan(_folder(Path(path)))
        import_utils.fetch__all__ = lambda source: names(source[source.rfind("\n__all__") + 1 :])


def _is_not_there() -> bool:
    return False


def _folder(path: Path) -> Path:
    return path.parent if path.is_file() else path


def _put_compiler_off() -> None:
    """torch's compiler is not loaded before somebody compiles, which nothing here does: 1 s and 80 MiB.

    transformers needs a helper of it, and marks some functions for it. The marks say what it should leave alone; they
    are left out until it is loaded.
    """
    import torch  # noqa: F401 - the compiler's parent package

    if _COMPILER in sys.modules:
        return
    with importing.deferred(_COMPILER):
        compiler: Any = importlib.import_module(_COMPILER)
    vars(compiler).update(dict.fromkeys(_MARKS, _unmarked))
    compiler.__path__ = compiler.__spec__.submodule_search_locations
    with suppress(ImportError):
        importlib.import_module(_USED_OF_COMPILER)
    vars(compiler).pop("__path__", None)


def _unmarked(function: Any = None, *_: Any, **__: Any) -> Any:
    """The function as it was; called with options alone, a decorator that does as much."""
    return _unmarked if function is None else function
