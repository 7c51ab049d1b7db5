"""The node: a kubelet over containerd on an island, and GPUs that are there by word alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.kubernetes.real.archive import Archive, Image
from tests.kubernetes.real.control_plane import Access, Keys
from tests.kubernetes.real.daemons import Daemons
from tests.kubernetes.real.engine import SOCKET, Engine
from tests.kubernetes.real.island import Island
from tests.kubernetes.real.programs import Programs

NAME = "node-0"
GPU = "nvidia.com/gpu"
START_SECONDS = 120.0


class Node:
    """One node of the cluster; `start` returns once pods can be scheduled on it."""

    def __init__(self, programs: Programs, folder: Path, daemons: Daemons, island: Island) -> None:
        self._programs, self._folder, self._daemons, self._island = programs, folder, daemons, island

    def start(self, access: Access, keys: Keys, images: Sequence[Image | Archive]) -> None:
        """`images`: those of pods, and PAUSE_IMAGE; no others can be had here."""
        Engine(self._programs, self._folder, self._daemons, self._island).start(images)
        self._start_kubelet(keys)
        self._daemons.wait("kubelet", lambda: is_ready(access), START_SECONDS)

    def _start_kubelet(self, keys: Keys) -> None:
        config = self._folder / "kubelet.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "kind": "KubeletConfiguration",
                    "apiVersion": "kubelet.config.k8s.io/v1beta1",
                    "authentication": {
                        "anonymous": {"enabled": False},
                        "webhook": {"enabled": False},
                        "x509": {"clientCAFile": str(keys.kubelet_client)},
                    },
                    "authorization": {"mode": "AlwaysAllow"},
                    "cgroupDriver": "cgroupfs",
                    "cgroupRoot": f"/{self._folder.name}",
                    "enforceNodeAllocatable": ["pods"],
                    "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
                    "failSwapOn": False,
                    "makeIPTablesUtilChains": False,
                    "oomScoreAdj": 0,
                    # Nobody answers there, at once. Without an address every pod has a warning among its events.
                    "clusterDNS": [self._island.network.node],
                    "volumeStatsAggPeriod": "2s",  # a minute, by default, until a full volume is seen
                }
            )
        )
        self._daemons.start(
            "kubelet",
            self._island.inside(
                [
                    self._programs.server("kubelet"),
                    f"--config={config}",
                    f"--kubeconfig={self._folder / 'admin.kubeconfig'}",
                    f"--root-dir={self._folder / 'kubelet'}",
                    f"--cert-dir={self._folder / 'kubelet' / 'pki'}",
                    f"--volume-plugin-dir={self._folder / 'kubelet' / 'volume-plugins'}",
                    "--container-runtime=remote",
                    f"--container-runtime-endpoint=unix://{SOCKET}",
                    f"--hostname-override={NAME}",
                    f"--node-ip={self._island.network.node}",
                ]
            ),
        )


def is_ready(access: Access) -> bool:
    with access.client() as client:
        answer = client.get(f"/api/v1/nodes/{NAME}")
    conditions = answer.json()["status"].get("conditions", []) if answer.is_success else []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def pretend_gpus(access: Access, count: int) -> None:
    """Make the node say that it has so many GPUs: enough for the scheduler, and no container gets a device."""
    patch = [
        {"op": "add", "path": f"/status/{there}/{GPU.replace('/', '~1')}", "value": str(count)}
        for there in ("capacity", "allocatable")
    ]
    with access.client() as client:
        client.patch(
            f"/api/v1/nodes/{NAME}/status", json=patch, headers={"Content-Type": "application/json-patch+json"}
        ).raise_for_status()
