"""Bytes in and out of the root, any fsspec URI. Writes are atomic: a reader sees the old file, the new one, or none."""

from __future__ import annotations

import json
import os
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from llm_eval.errors import StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of `uri` and the path on it."""
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise StorageError(f"{uri}: no filesystem for this address ({error})") from error
    return fs, path


@contextmanager
def _named(action: str, uri: str) -> Iterator[None]:
    """Turns the operating system's and fsspec's errors into StorageError that names the place and the next step."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise StorageError(
            f"cannot {action} {uri}: {reason}. Check that the root exists, is writable and has space "
            "(--root or LLM_EVAL_ROOT names it)."
        ) from error


def is_local(fs: AbstractFileSystem) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def write_bytes(uri: str, data: bytes, *, into_existing: bool = False) -> None:
    """Write `data` at once: local files through a temporary name and a rename; object stores put whole objects.

    `into_existing`: a local folder that is not there is an error. Else a root that is away for a while (a disk that is
    not mounted) would be made anew, and what is written there be out of sight when the true one is back.
    """
    with _named("write", uri):
        fs, path = filesystem(uri)
        if not is_local(fs):
            fs.pipe_file(path, data)
            return
        temporary = _written_beside(path, data, into_existing)
        try:
            os.replace(temporary, path)
        except BaseException:
            _remove(temporary)
            raise


def create_json(uri: str, value: Any) -> bool:
    """Write a file that nobody else has written: False, and nothing changed, where there is one already.

    Of several that create one file at the same moment, one is told True. Object stores do it by a conditional put.
    """
    data = _json(value)
    with _named("write", uri):
        fs, path = filesystem(uri)
        try:
            if is_local(fs):
                _create_local(path, data)
            else:
                fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
    return True


def _create_local(path: str, data: bytes) -> None:
    """A link is made or refused at once, and what it links to is whole."""
    temporary = _written_beside(path, data)
    try:
        os.link(temporary, path)
    finally:
        _remove(temporary)


def _written_beside(path: str, data: bytes, into_existing: bool = False) -> str:
    """A temporary file with this content in the folder of `path`."""
    folder, name = os.path.split(path)
    if not into_existing:
        os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a full disk may show itself only here
    except BaseException:
        _remove(temporary)
        raise
    return temporary


def _remove(temporary: str) -> None:
    """Its folder may be gone, or it may have got its name already: neither may hide what was going wrong."""
    with suppress(OSError):
        os.unlink(temporary)


def make_folder(uri: str) -> None:
    """On a local filesystem; object stores have none."""
    with _named("make", uri):
        fs, path = filesystem(uri)
        if is_local(fs):
            os.makedirs(path, exist_ok=True)


def read_bytes(uri: str) -> bytes:
    with _named("read", uri):
        fs, path = filesystem(uri)
        data: bytes = fs.cat_file(path)
        return data


def exists(uri: str) -> bool:
    with _named("look at", uri):
        fs, path = filesystem(uri)
        return bool(fs.exists(path))


def files(folder: str, suffix: str = "") -> list[str]:
    """URIs of the files directly in `folder`, sorted; [] if there is no such folder. Temporary files are left out."""
    with _named("list", folder):
        fs, path = filesystem(folder)
        fs.invalidate_cache()
        if not fs.isdir(path):
            return []
        names = sorted(posixpath.basename(p.rstrip("/")) for p in fs.ls(path, detail=False))
        return [f"{folder.rstrip('/')}/{n}" for n in names if n.endswith(suffix) and not n.startswith(".")]


def delete(uri: str) -> None:
    """Remove one file; nothing happens if it is not there."""
    with _named("delete", uri):
        fs, path = filesystem(uri)
        if fs.exists(path):
            fs.rm_file(path)


def write_json(uri: str, value: Any) -> None:
    write_bytes(uri, _json(value))


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


def read_json(uri: str) -> Any:
    data = read_bytes(uri)
    try:
        return json.loads(data)
    except ValueError as error:
        raise StorageError(f"{uri}: not valid JSON ({error}): cut short or edited. Delete it and run again.") from error
