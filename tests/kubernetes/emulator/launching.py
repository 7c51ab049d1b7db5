"""From what a pod asks for to what a container's first process is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.kubernetes.emulator.containers import Container
from tests.kubernetes.emulator.environment import arguments_of, environment_of
from tests.kubernetes.emulator.images import Image, Images, image_folders
from tests.kubernetes.emulator.processes import Launch, Mount
from tests.kubernetes.emulator.references import NotReady, References
from tests.kubernetes.emulator.volumes import Volumes


@dataclass(frozen=True)
class Surroundings:
    """What the containers of one pod share."""

    pod: Mapping[str, Any]
    images: Images
    references: References
    volumes: Volumes


def prepare_launch(container: Container, image: Image, around: Surroundings) -> Launch:
    """Raises NotReady if something that it refers to is missing, or it may not run as the user that it would be."""
    context = _security_context(around.pod, container.spec)
    user = context.get("runAsUser", image.user)
    if context.get("runAsNonRoot") and user == 0:
        raise NotReady("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
    from_image = {"HOME": "/root" if user == 0 else "/", **around.images.environment(image)}
    environment = environment_of(container.spec, around.pod, from_image, around.references)
    mounts = around.volumes.mounts(container.spec)
    container.prepare()
    group = [context["fsGroup"]] if "fsGroup" in context else []
    return Launch(
        arguments=arguments_of(container.spec, image, environment),
        environment=environment,
        host_name=around.pod["metadata"]["name"],
        working_folder=container.spec.get("workingDir") or "/",
        mounts=(*mounts, Mount(container.spec["terminationMessagePath"], str(container.termination_log))),
        image_folders=image_folders(),
        user=user,
        group=context.get("runAsGroup", 0),
        groups=(*group, *(context.get("supplementalGroups") or [])),
        read_only_root=bool(context.get("readOnlyRootFilesystem")),
        drops_capabilities="ALL" in ((context.get("capabilities") or {}).get("drop") or []),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
    )


def _security_context(pod: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    """A container's own word counts more than its pod's."""
    return {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
