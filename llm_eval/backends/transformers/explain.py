"""Why something did not load, in one message."""

from __future__ import annotations

from llm_eval.backends.places import Place
from llm_eval.errors import BackendLost, InputError, InvalidData, LlmEvalError

_SHOWN = 400
_FULL = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


def explained(error: Exception, what: str, place: Place) -> LlmEvalError:
    """The error to raise for one that loading `what` from `place` met.

    Which of many exception types says so differs between versions of the libraries.
    """
    said = " ".join(str(error).split())
    reason = f"{type(error).__name__}: {said[:_SHOWN]}"
    if is_out_of_memory(error):
        return InputError(
            f"{what} does not fit the memory of its device ({reason}). Choose a smaller backend.dtype, another "
            "device, or device_map: auto."
        )
    if "trust_remote_code" in said:
        return InputError(
            f"{what} brings its own code. Read it, and if you trust it set backend.trust_remote_code: true."
        )
    if isinstance(error, ImportError):
        return InputError(f"{what} needs a package that is not installed ({reason})")
    if place.folder is None and _went_away(error):
        return BackendLost(f"{what}: the hub went away while its files were fetched ({reason})")
    return InvalidData(
        f"{what} cannot be loaded ({reason}). The files are corrupt, half-written, or not of a causal language model "
        "that this version of transformers knows. Fetch them again, or fix backend.path."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device's memory was full; only CUDA's own allocator has a type for it."""
    import torch

    full = isinstance(error, RuntimeError) and any(sign in str(error) for sign in _FULL)
    return full or isinstance(error, torch.OutOfMemoryError | MemoryError)


def _went_away(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError) or "connect" in str(error).lower():
            return True
        error = error.__cause__ or error.__context__
    return False
