"""The files by which a client finds the cluster and says who it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kubeconfigs:
    """One for each user, in one folder, with its token in a file beside it."""

    folder: Path
    address: str
    namespace: str

    def path(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"

    def add(self, user: str, token: str | None) -> None:
        """`token`: None for a user that is nobody in particular."""
        if token:
            self.write_token(user, token)
        context = {"cluster": "emulator", "user": user, "namespace": self.namespace}
        content: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "emulator",
            "clusters": [{"name": "emulator", "cluster": {"server": self.address}}],
            "users": [{"name": user, "user": {"tokenFile": str(self._token(user))} if token else {}}],
            "contexts": [{"name": "emulator", "context": context}],
        }
        self.path(user).write_text(json.dumps(content, indent=1))

    def write_token(self, user: str, token: str) -> None:
        """Whole or not at all: a client may read it at this moment."""
        new = self._token(user).with_suffix(".new")
        new.write_text(token)
        new.replace(self._token(user))

    def _token(self, user: str) -> Path:
        return self.folder / f"{user}.token"


def of_no_cluster(folder: Path) -> str:
    """Path of a kubeconfig that every client takes, and that leads nowhere."""
    known = Kubeconfigs(folder, "http://127.0.0.1:1", "default")
    known.add("nobody", None)
    return str(known.path("nobody"))
