"""What a cluster of a test is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import CHECKOUT
from tests.kubernetes.emulator.images import Image
from tests.kubernetes.emulator.isolation import Isolation
from tests.kubernetes.emulator.scheduling import Node

DEFAULT = "default"


@dataclass(frozen=True)
class Site:
    """`images`: by name, where `*` stands for anything. `image_environment`: what all images set; a real image has this
    package installed, these find it in the checkout. `access`: a file of ServiceAccounts, Roles and RoleBindings;
    without one, everybody may do everything. `isolation`: None for the best that this machine has.
    `start_seconds`: from a pod's place on a node to its first container. `backoff_seconds`: before the second try of
    whatever fails, where Kubernetes waits ten.
    """

    nodes: Sequence[Node] = (Node("cpu-1"), Node("gpu-1", gpus=2))
    namespaces: Sequence[str] = (DEFAULT,)
    images: Mapping[str, Image] = field(default_factory=lambda: {"*": Image()})
    image_environment: Mapping[str, str] = field(default_factory=lambda: {"PYTHONPATH": str(CHECKOUT)})
    access: Path | None = None
    isolation: Isolation | None = None
    start_seconds: float = 0.05
    backoff_seconds: float = 0.2
