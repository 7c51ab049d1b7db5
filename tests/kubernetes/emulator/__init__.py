"""A Kubernetes cluster in one process, for tests: the API that pod operators use, and pods that really run.

`cluster.Cluster` is what tests work with. Left out, since nothing of ours asks for it: Jobs, probes, sidecars that are
init containers, affinity, quotas, priorities, TLS, discovery (so no kubectl), a GPU inside a pod.
"""

from tests.kubernetes.emulator.cluster import Cluster
from tests.kubernetes.emulator.images import Image
from tests.kubernetes.emulator.scheduling import Node

__all__ = ["Cluster", "Image", "Node"]
