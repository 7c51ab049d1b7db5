"""What a container asks for: GPUs whole and as a limit, amounts that can be read, names that a node can have."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from llm_eval.manifests.names import DNS_SUBDOMAIN, QUALIFIED
from llm_eval.manifests.parts import Mistake, Part, containers, mapping
from llm_eval.manifests.quantities import InvalidQuantity, amount

NATIVE = ("cpu", "memory", "ephemeral-storage")
# What Docker and containerd refuse to start a container with. Far more often, a suffix is missing: memory: "24".
LEAST_MEMORY = amount("6Mi")


def mistakes(pod: Part) -> Iterator[Mistake]:
    for path, container in containers(pod):
        resources = mapping(container.get("resources"))
        asked: dict[str, dict[str, Fraction]] = {}
        for kind in ("limits", "requests"):
            asked[kind] = {}
            for name, value in mapping(resources.get(kind)).items():
                place = f"{path}.resources.{kind}[{name}]"
                try:
                    asked[kind][str(name)] = quantity = amount(value)
                except InvalidQuantity as error:
                    yield Mistake(place, str(error))
                else:
                    yield from _one(place, str(name), value, quantity)
        yield from _together(f"{path}.resources", asked["limits"], asked["requests"])


def is_overcommitted(name: str) -> bool:
    """Whether a node may promise more of it than it has. Never true of devices and huge pages."""
    return name in NATIVE


def _one(place: str, name: str, written: object, quantity: Fraction) -> Iterator[Mistake]:
    vendor, slash, device = name.rpartition("/")
    known = name in NATIVE or name.startswith("hugepages-")
    if not known and not (slash and DNS_SUBDOMAIN.fullmatch(vendor) and QUALIFIED.fullmatch(device)):
        yield Mistake(
            place,
            f"{name!r} is no resource. Allowed: {', '.join(NATIVE)}, hugepages-2Mi, or a device with its vendor, "
            "such as nvidia.com/gpu",
        )
    if quantity < 0:
        yield Mistake(place, f"{written!r} is less than nothing")
    if slash and quantity.denominator != 1:
        yield Mistake(place, f"{written!r} is no whole number: a device is not shared. Ask for 1, 2, …")
    if name == "memory" and 0 < quantity < LEAST_MEMORY:
        yield Mistake(place, f"{written!r} is less than a container starts with. Is a suffix missing, as in 24Gi?")


def _together(path: str, limits: dict[str, Fraction], requests: dict[str, Fraction]) -> Iterator[Mistake]:
    for name, request in requests.items():
        limit, place = limits.get(name), f"{path}.requests[{name}]"
        if is_overcommitted(name):
            if limit is not None and request > limit:
                yield Mistake(place, "more than the limit. Raise the limit or lower the request")
        elif limit is None:
            yield Mistake(place, f"a device must be a limit. Put it into {path}.limits; the request may go")
        elif request != limit:
            yield Mistake(
                place, "not the same as the limit, and devices are not lent. Make them equal, or drop the request"
            )
