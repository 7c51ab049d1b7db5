"""Container images as an OCI layout in a tar file, put together from tar files that are their layers."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

CHUNK_BYTES = 1 << 20
OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Layer:
    """A tar file and its digest, which is computed once and kept beside it."""

    path: Path

    @property
    def digest(self) -> str:
        kept = self.path.with_suffix(".sha256")
        if not kept.exists() or kept.stat().st_mtime < self.path.stat().st_mtime:
            digest = hashlib.sha256()
            with self.path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
            kept.write_text(f"sha256:{digest.hexdigest()}")
        return kept.read_text()


def write_layer(path: Path, files: Iterable[tuple[Path, str]]) -> Layer:
    """A layer of (file, its place in the image); owned by root, times kept: Python's compiled files name them."""
    unfinished = path.with_suffix(".part")
    with tarfile.open(unfinished, "w") as tar:
        for source, place in files:
            tar.add(source, place, recursive=False, filter=_of_root)
    unfinished.rename(path)
    return Layer(path)


@dataclass(frozen=True)
class Image:
    """`config`: Env, Entrypoint, User, … as in the OCI image specification."""

    tag: str
    layers: Sequence[Layer]
    config: Mapping[str, Any]

    def write(self, archive: IO[bytes], known: Collection[str] = ()) -> None:
        """Write it without the layers whose digests are `known` there; nothing is sought in it, it may be a pipe."""
        described = _Blob(
            f"{OCI}.config.v1+json",
            {
                "architecture": "amd64",
                "os": "linux",
                "config": dict(self.config),
                "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in self.layers]},
            },
        )
        stacked = [
            {"mediaType": f"{OCI}.layer.v1.tar", "digest": layer.digest, "size": layer.path.stat().st_size}
            for layer in self.layers
        ]
        manifest = _Blob(
            f"{OCI}.manifest.v1+json", {"schemaVersion": 2, "config": described.descriptor, "layers": stacked}
        )
        named = {**manifest.descriptor, "annotations": {"io.containerd.image.name": self.tag}}
        with tarfile.open(fileobj=archive, mode="w|") as tar:
            _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            for blob in (described, manifest):
                _add(tar, _place(blob.descriptor["digest"]), blob.data)
            for layer in self.layers:
                if layer.digest not in known:
                    tar.add(layer.path, _place(layer.digest))
            _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [named]}))


@dataclass(frozen=True)
class Archive:
    """An image that somebody else has made, as `docker save` writes it."""

    path: Path

    def write(self, archive: IO[bytes], known: Collection[str] = ()) -> None:
        with self.path.open("rb") as file:
            shutil.copyfileobj(file, archive, CHUNK_BYTES)


@dataclass(frozen=True)
class _Blob:
    kind: str
    content: Mapping[str, Any]

    @property
    def data(self) -> bytes:
        return _json(self.content)

    @property
    def descriptor(self) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(self.data).hexdigest()}"
        return {"mediaType": self.kind, "digest": digest, "size": len(self.data)}


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o444 | (0o111 if entry.mode & 0o100 else 0)
    return entry
