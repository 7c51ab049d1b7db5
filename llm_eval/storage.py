"""Bytes in and out of the root, any fsspec URI. Writes are atomic: a reader sees the old file, the new one, or none."""

from __future__ import annotations

import json
import os
import posixpath
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from llm_eval import object_stores
from llm_eval.errors import LlmEvalError, NotThere, StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_AT_ONCE = 200  # object stores answer these side by side; what is held in memory stays small


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of `uri`, with nothing remembered of what it held before, and the path on it."""
    from fsspec.core import url_to_fs

    if uri.startswith(object_stores.S3):
        fs = object_stores.s3()
        return fs, fs._strip_protocol(uri)
    try:
        fs, path = url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise StorageError(f"{uri}: no filesystem for this address ({error})") from error
    fs.invalidate_cache()
    return fs, path


@contextmanager
def _named(action: str, uri: str) -> Iterator[None]:
    """Turns the operating system's and the store's errors into StorageError that names the place and the next step."""
    try:
        yield
    except LlmEvalError:
        raise
    except Exception as error:
        told = _error(action, uri, error)
        if told is error:
            raise
        raise told from error


def _error(action: str, uri: str, error: Exception) -> Exception:
    """StorageError, of the kind that it is; what is none of the storage's comes back as it is."""
    if isinstance(error, FileNotFoundError) and action == "read" and object_stores.code(error) != "NoSuchBucket":
        return NotThere(f"cannot read {uri}: there is no such file. Check the root (--root or LLM_EVAL_ROOT names it).")
    if "://" in uri and not uri.startswith("file://"):
        return object_stores.in_words(action, uri, error)
    if not isinstance(error, OSError):
        return error
    reason = error.strerror or str(error) or type(error).__name__
    return StorageError(
        f"cannot {action} {uri}: {reason}. Check that the root exists, is writable and has space "
        "(--root or LLM_EVAL_ROOT names it)."
    )


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
                object_stores.create(uri, fs, path, data)
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
    """Raises NotThere if there is no such file."""
    with _named("read", uri):
        fs, path = filesystem(uri)
        data: bytes = fs.cat_file(path)
        return data


def read_each(uris: Sequence[str], *, may_vanish: bool = False) -> Iterator[tuple[str, bytes]]:
    """Each file with its content, from object stores many at once. may_vanish: one that is gone is left out."""
    for start in range(0, len(uris), _AT_ONCE):
        for uri, content in _contents(uris[start : start + _AT_ONCE]):
            if not isinstance(content, Exception):
                yield uri, content
            elif not (may_vanish and isinstance(content, FileNotFoundError)):
                raise _error("read", uri, content) from content


def _contents(uris: Sequence[str]) -> Iterator[tuple[str, bytes | Exception]]:
    fs, _ = filesystem(uris[0])
    paths = {filesystem(uri)[1]: uri for uri in uris}
    if is_local(fs):
        for path, uri in paths.items():
            try:
                yield uri, fs.cat_file(path)
            except OSError as error:
                yield uri, error
        return
    with _named("read", uris[0]):
        found = fs.cat(list(paths), on_error="return")
    yield from ((uri, found[path]) for path, uri in paths.items())


def exists(uri: str) -> bool:
    """Whether there is such a file, which is not empty."""
    with _named("look at", uri):
        fs, path = filesystem(uri)
        return bool(fs.exists(path)) if is_local(fs) else object_stores.has(fs, path)


def files(folder: str, suffix: str = "") -> list[str]:
    """URIs of the files directly in `folder`, sorted; [] if there is no such folder. Temporary files are left out."""
    return list(_listed(folder, suffix, with_state=False))


def states(folder: str, suffix: str = "") -> dict[str, str]:
    """What `files` gives, and for each a text that is another one once the file has been written again."""
    return _listed(folder, suffix, with_state=True)


def _listed(folder: str, suffix: str, *, with_state: bool) -> dict[str, str]:
    with _named("list", folder):
        fs, path = filesystem(folder)
        if is_local(fs) and not fs.isdir(path):
            return {}
        try:
            found = {(i["name"] if with_state else i).rstrip("/"): str(i) for i in fs.ls(path, detail=with_state)}
        except FileNotFoundError as error:
            if object_stores.code(error) == "NoSuchBucket":
                raise
            return {}
    found.pop(path.rstrip("/"), None)  # object stores may list a folder as a file within itself
    by_name = {posixpath.basename(place): state for place, state in found.items()}
    kept = sorted(name for name in by_name if name.endswith(suffix) and not name.startswith("."))
    return {f"{folder.rstrip('/')}/{name}": by_name[name] for name in kept}


def tree(folder: str) -> list[str]:
    """URIs of all files below `folder`, sorted, temporary ones too; [] if there is no such folder."""
    with _named("list", folder):
        fs, path = filesystem(folder)
        try:
            found = fs.find(path)
        except FileNotFoundError as error:
            if object_stores.code(error) == "NoSuchBucket":
                raise
            return []
        return sorted(f"{folder.rstrip('/')}/{file[len(path.rstrip('/')) + 1 :]}" for file in found)


def delete(uri: str) -> None:
    """Remove one file; nothing happens if it is not there."""
    with _named("delete", uri), suppress(FileNotFoundError):
        fs, path = filesystem(uri)
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
