"""containerd on an island: runs the node's containers, and keeps its images in build.sh's cache.

Loading an image of two gigabytes takes a minute or two, so what was loaded stays, and one cluster at a time has it.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.kubernetes.real.archive import Archive, Image
from tests.kubernetes.real.daemons import DaemonFailed, Daemons
from tests.kubernetes.real.island import Island
from tests.kubernetes.real.programs import Programs

PAUSE_IMAGE = "localhost/llm-eval/pause:1"
SOCKET = "/run/containerd/containerd.sock"  # of the island: nobody else on the machine can give it orders
START_SECONDS = 60.0
LOAD_SECONDS = 900.0

CONFIG = """\
version = 2
root = "{images}"
state = "/run/containerd"
disabled_plugins = [{disabled}]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true # root may lack CAP_SYS_RESOURCE, which lowering the score takes
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/network"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
"""
KUBERNETES = '"io.containerd.grpc.v1.cri"'


@contextmanager
def images_of_one(programs: Programs) -> Iterator[None]:
    """Inside, nobody else has the images. Raises DaemonFailed if another cluster runs."""
    folder = programs.folder / "containerd"
    folder.mkdir(exist_ok=True)
    with (folder / "in-use").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DaemonFailed(f"another one-node cluster is running, and has the images in {folder}") from error
        yield


class Engine:
    """`start` returns once the images are there and the kubelet may ask for containers."""

    def __init__(self, programs: Programs, folder: Path, daemons: Daemons, island: Island) -> None:
        self._programs, self._folder, self._daemons, self._island = programs, folder, daemons, island
        self._images = programs.folder / "containerd"

    def start(self, images: Sequence[Image | Archive]) -> None:
        """Raises DaemonFailed."""
        self._write_network()
        # Without the part that Kubernetes speaks to, so that this part never learns of an earlier cluster's containers.
        self._start("loading", disabled=KUBERNETES)
        for container in self._ctr("containers", "list", "--quiet").split():
            self._ctr("containers", "remove", container)
        for image in images:
            self._load(image)
        self._daemons.stop("loading")
        self._start("containerd", disabled="")

    def _start(self, name: str, disabled: str) -> None:
        config = self._folder / f"{name}.toml"
        config.write_text(
            CONFIG.format(
                images=self._images,
                disabled=disabled,
                socket=SOCKET,
                folder=self._folder,
                pause=PAUSE_IMAGE,
                plugins=self._programs.network_plugins,
                runc=self._programs.program("runc"),
            )
        )
        command = [self._programs.program("containerd"), "--config", str(config)]
        self._daemons.start(name, self._island.inside(command))
        self._daemons.wait(name, self._answers, START_SECONDS)

    def _write_network(self) -> None:
        network = self._folder / "network"
        network.mkdir()
        addresses = {"type": "host-local", "ranges": [[{"subnet": self._island.network.pods}]]}
        routes = {"routes": [{"dst": "0.0.0.0/0"}]}
        bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipam": {**addresses, **routes}}
        plan = {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}
        (network / "10-pods.conflist").write_text(json.dumps(plan))

    def _load(self, image: Image | Archive) -> None:
        """As if the node had pulled it; layers that are there are not sent again."""
        known = set(self._ctr("content", "list", "--quiet").split())
        command = self._command("images", "import", "-")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as load:
            assert load.stdin is not None
            with suppress(BrokenPipeError):  # then it says why
                image.write(load.stdin, known)
            said, _ = load.communicate(timeout=LOAD_SECONDS)
        if load.returncode != 0:
            raise DaemonFailed(f"an image could not be loaded: {said.decode(errors='replace')}")

    def _answers(self) -> bool:
        return subprocess.run(self._command("version"), capture_output=True, check=False).returncode == 0

    def _ctr(self, *arguments: str) -> str:
        return subprocess.run(self._command(*arguments), capture_output=True, text=True, check=True).stdout

    def _command(self, *arguments: str) -> list[str]:
        ctr = (self._programs.program("ctr"), f"--address={SOCKET}", "--namespace=k8s.io")
        return self._island.inside([*ctr, *arguments])
