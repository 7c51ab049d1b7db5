"""Amounts of a resource: "500m", "24Gi", 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity


def amount(quantity: Any) -> Decimal:
    """Raises ValueError for what is no quantity."""
    return Decimal(parse_quantity(quantity))


def asked_for(container: Mapping[str, Any]) -> dict[str, Decimal]:
    """What a container keeps from others: its requests, and a limit where there is no request."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: amount(quantity) for name, quantity in asked.items()}


def total(containers: Iterable[Mapping[str, Any]]) -> dict[str, Decimal]:
    summed: dict[str, Decimal] = {}
    for container in containers:
        for name, asked in asked_for(container).items():
            summed[name] = summed.get(name, Decimal(0)) + asked
    return summed
