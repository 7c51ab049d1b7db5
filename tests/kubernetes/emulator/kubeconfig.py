"""The file by which a client finds the cluster and says who it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_kubeconfig(path: Path, address: str, namespace: str, token_file: Path | None) -> Path:
    """`token_file`: read by the client each time that it reads the kubeconfig. None for nobody in particular."""
    user: dict[str, Any] = {"tokenFile": str(token_file)} if token_file else {}
    context = {"cluster": "emulator", "user": "user", "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "emulator",
        "clusters": [{"name": "emulator", "cluster": {"server": address}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "emulator", "context": context}],
    }
    path.write_text(json.dumps(content, indent=1))
    return path
