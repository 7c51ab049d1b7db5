"""A Kubernetes cluster in one process, for tests: the API that pod operators use, and pods that really run.

`cluster.Cluster` is what tests work with. It needs Linux; what it cannot do for want of namespaces, it says.

Left out, since nothing of ours asks for it: Jobs, probes, sidecars that are init containers, affinity, priorities,
quotas, limits of what is written to disk, networks and addresses of pods' own, tokens of service accounts inside pods,
TLS, discovery (so no kubectl) and real GPUs: they are counted, and that is all.
"""

from tests.kubernetes.emulator.cluster import Cluster
from tests.kubernetes.emulator.images import Image
from tests.kubernetes.emulator.scheduling import Node

__all__ = ["Cluster", "Image", "Node"]
