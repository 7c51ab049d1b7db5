"""What a pod may do: what Kubernetes' profile `restricted` asks of it, and a little more.

Source: kubernetes.io/docs/concepts/security/pod-security-standards. Ours: no token of a service account, and a root
file system that cannot be written, with something writable at /tmp.
"""

from __future__ import annotations

from collections.abc import Iterator

from llm_eval.manifests.parts import Mistake, Part, containers, mapping, mounts, spec, volumes

HOST = ("hostNetwork", "hostPID", "hostIPC")
PROFILES = ("RuntimeDefault", "Localhost")
BASE = "base"  # the container that a stage runs in
TEMPORARY = "/tmp"  # noqa: S108 - the place itself is what is looked for


def mistakes(pod: Part) -> Iterator[Mistake]:
    inside = spec(pod)
    if inside.get("automountServiceAccountToken") is not False:
        yield Mistake("spec.automountServiceAccountToken", "no stage calls the cluster. Say false: the default is true")
    for name in HOST:
        if inside.get(name):
            yield Mistake(f"spec.{name}", "would take the pod out of its own namespace. Remove it")
    for path, container in containers(pod):
        yield from _container(path, container, mapping(inside.get("securityContext")))
        yield from _folders_of_the_node(path, container, pod)


def _container(path: str, container: Part, of_pod: Part) -> Iterator[Mistake]:
    own, place = mapping(container.get("securityContext")), f"{path}.securityContext"
    both = {**of_pod, **own}  # what a container says of itself counts before what its pod says
    if both.get("runAsNonRoot") is not True:
        yield Mistake(f"{place}.runAsNonRoot", f"{both.get('runAsNonRoot')!r}: say true here or for the pod")
    if both.get("runAsUser") == 0:
        yield Mistake(f"{place}.runAsUser", "0 is root. Any other number is allowed")
    if own.get("privileged"):
        yield Mistake(f"{place}.privileged", "would show it every device of its node. GPUs need no such right")
    if own.get("allowPrivilegeEscalation") is not False:
        yield Mistake(f"{place}.allowPrivilegeEscalation", "say false: the default is true")
    yield from _capabilities(f"{place}.capabilities", mapping(own.get("capabilities")))
    profile = mapping(both.get("seccompProfile")).get("type")
    if profile not in PROFILES:
        yield Mistake(
            f"{place}.seccompProfile.type", f"{profile!r}: say one of {', '.join(PROFILES)}, here or for the pod"
        )
    yield from _root(path, container, own)


def _capabilities(path: str, capabilities: Part) -> Iterator[Mistake]:
    drop = capabilities.get("drop")
    if not isinstance(drop, list) or "ALL" not in drop:
        yield Mistake(f"{path}.drop", f"{drop!r}: all capabilities have to go. Say [ALL]")
    if added := capabilities.get("add"):
        yield Mistake(f"{path}.add", f"{added!r}: no stage needs any. Remove it")


def _folders_of_the_node(path: str, container: Part, pod: Part) -> Iterator[Mistake]:
    folders = {str(volume.get("name")) for _, volume in volumes(pod) if "hostPath" in volume}
    for place, mount in mounts(path, container):
        if str(mount.get("name")) in folders and mount.get("readOnly") is not True:
            yield Mistake(
                f"{place}.readOnly",
                f"{mount.get('name')!r} is a folder of the node, which a pod may read and never write. Say true, or "
                "use a PersistentVolumeClaim",
            )


def _root(path: str, container: Part, own: Part) -> Iterator[Mistake]:
    if own.get("readOnlyRootFilesystem") is not True:
        yield Mistake(f"{path}.securityContext.readOnlyRootFilesystem", "say true: the default is false")
        return
    writable = {str(mount.get("mountPath")) for _, mount in mounts(path, container) if not mount.get("readOnly")}
    if TEMPORARY not in writable and container.get("name") == BASE:
        yield Mistake(
            f"{path}.volumeMounts",
            f"nothing writable at {TEMPORARY}, and the root is read-only: Python finds no place for a temporary file. "
            "Mount an emptyDir there",
        )
