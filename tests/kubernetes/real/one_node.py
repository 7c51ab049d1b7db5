"""The one-node cluster as a whole: control plane and node on an island, in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.kubernetes.real import remains
from tests.kubernetes.real.archive import Archive, Image
from tests.kubernetes.real.control_plane import Access, start_control_plane
from tests.kubernetes.real.daemons import Daemons
from tests.kubernetes.real.engine import images_of_one
from tests.kubernetes.real.images import pause_image
from tests.kubernetes.real.island import Island
from tests.kubernetes.real.node import Node, pretend_gpus
from tests.kubernetes.real.programs import Programs


@contextmanager
def one_node_cluster(programs: Programs, images: Sequence[Image | Archive], gpus: int = 0) -> Iterator[Access]:
    """A cluster whose node is ready. `images`: what pods may ask for; no others can be had.

    Raises DaemonFailed, also if another such cluster runs.
    """
    with images_of_one(programs), _place(programs) as (folder, daemons):
        island = Island(programs, folder, daemons).start()
        try:
            remains.make_control_groups(folder.name)
            access, keys = start_control_plane(programs, folder, daemons, island.network.node, island.inside)
            node = Node(programs, folder, daemons, island)
            node.start(access, keys, [pause_image(programs, folder), *images])
            if gpus:
                pretend_gpus(access, gpus)
            yield access
        finally:
            island.sink()


@contextmanager
def control_plane(programs: Programs) -> Iterator[Access]:
    """The servers alone, without root and without a node: enough to ask what they think of a manifest."""
    with _place(programs) as (folder, daemons):
        access, _ = start_control_plane(programs, folder, daemons)
        yield access


@contextmanager
def _place(programs: Programs) -> Iterator[tuple[Path, Daemons]]:
    for folder in remains.abandoned():
        remains.remove(folder)
    folder, lock = remains.make_folder()
    try:
        with lock, Daemons(folder / "logs", programs.environment, lock) as daemons:
            yield folder, daemons
    finally:
        remains.remove(folder)
