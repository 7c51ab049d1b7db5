"""Kubernetes' programs as build.sh has left them, and the reasons for which they cannot be used here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VERSION = "1.20.2"
OR_YOUR_OWN = "or set KUBECONFIG and LLM_EVAL_TEST_IMAGE to run on a cluster of your own"
NEEDED_FOR_A_NODE = ("unshare", "nsenter", "ip", "mount")


@dataclass(frozen=True)
class Programs:
    """What lies in build.sh's cache."""

    folder: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Programs:
        caches = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        own = environment.get("LLM_EVAL_K8S_CACHE")
        return cls(Path(own) if own else caches / "llm-eval" / f"kubernetes-{VERSION}")

    def server(self, name: str) -> str:
        """kube-apiserver, kube-controller-manager, kube-scheduler or kubelet."""
        return str(self.folder / "bin" / name)

    def program(self, name: str) -> str:
        """One of Debian's: etcd, containerd, ctr, runc, kubectl, catatonit."""
        return str(self.folder / "debian" / "usr" / "bin" / name)

    @property
    def network_plugins(self) -> Path:
        return self.folder / "debian" / "usr" / "lib" / "cni"

    @property
    def environment(self) -> dict[str, str]:
        """This process's, with Debian's programs and libraries found first: containerd looks for its shim and runc."""
        unpacked = self.folder / "debian" / "usr"
        first = {
            "PATH": [unpacked / "bin", unpacked / "sbin"],
            "LD_LIBRARY_PATH": [unpacked / "lib" / "x86_64-linux-gnu"],
        }
        found = {name: [*map(str, paths), *filter(None, [os.environ.get(name)])] for name, paths in first.items()}
        return {**os.environ, **{name: os.pathsep.join(paths) for name, paths in found.items()}}

    def why_no_control_plane(self) -> str | None:
        """Why the API server cannot run here, and what to do; None if it can."""
        if not sys.platform.startswith("linux"):
            return f"Kubernetes' servers run on Linux; {OR_YOUR_OWN}"
        if not (self.folder / "stamp").exists():
            return (
                f"Kubernetes {VERSION} is not in {self.folder}: `make k8s-real` builds it there from Debian's packages "
                f"(10-20 minutes of CPU, once), {OR_YOUR_OWN}"
            )
        return None

    def why_no_node(self) -> str | None:
        """Why pods cannot run here, and what to do; None if they can."""
        if reason := self.why_no_control_plane():
            return reason
        if os.geteuid() != 0:
            return f"a node's containers need root; run as root, {OR_YOUR_OWN}"
        if missing := [tool for tool in NEEDED_FOR_A_NODE if shutil.which(tool) is None]:
            return f"missing: {', '.join(missing)} (Debian: util-linux, iproute2, mount); {OR_YOUR_OWN}"
        alone = ["unshare", "--mount", "--net", "--pid", "--fork", "true"]
        if (tried := subprocess.run(alone, capture_output=True, text=True, check=False)).returncode != 0:
            return f"a node needs namespaces of its own: {tried.stderr.strip()}; {OR_YOUR_OWN}"
        return None
