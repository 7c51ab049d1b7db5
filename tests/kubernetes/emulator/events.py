"""What the cluster tells about a pod: events, which KPO prints while it waits and after a failure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal

from tests.kubernetes.emulator.store import Store
from tests.kubernetes.emulator.times import in_objects, now

EventType = Literal["Normal", "Warning"]
COMPONENT = "emulator"


def tell(store: Store, pod: Mapping[str, Any], type: EventType, reason: str, message: str) -> None:
    metadata = pod["metadata"]
    at = in_objects(now())
    store.add(
        "events",
        {
            "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "kind": "Pod",
                "apiVersion": "v1",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "type": type,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": COMPONENT,
        },
    )
