"""The first process of a container: puts the container's file tree together, gives up rights, becomes the command.

    python -I -S enter.py LAUNCH.json REPORT_FD

LAUNCH.json is a `Launch` of processes.py. It imports nothing of ours: it runs before there is a tree to import from.
On REPORT_FD it says `pid N`, and then either nothing, so that the end of the file is "the command runs now", or
`failed REASON`.

The tree is new and in memory; of the machine it has the system's folders and the image's, read-only, and nothing else.
So mount points such as /airflow/xcom exist inside alone, and a pod cannot lean on what happens to lie on this machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import sys
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER = 0x20000, 0x20000000, 0x10000000
CLONE_NEWUTS, CLONE_NEWIPC = 0x4000000, 0x8000000
MS_NOSUID, MS_BIND, MS_REC, MS_PRIVATE = 2, 4096, 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, SYS_MOUNT_SETATTR = -100, 0x8000, 1, 442
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
SYSTEM = ("bin", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
WRITABLE = ("tmp", "var/tmp")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
SHARED_MEMORY_BYTES = 64 << 20
LAST_CAPABILITY = 63

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def mount(source: str, target: str, type: str | None, flags: int, options: str = "") -> None:
    call("mount", source.encode(), target.encode(), type and type.encode(), flags, options.encode())


def make_read_only(target: str) -> None:
    """With all that is mounted below. In a user namespace, a remount would have to repeat flags that are locked."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, 32)


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "w").close()
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        make_read_only(target)


def memory(target: str, mode: str, size_bytes: int = 0) -> None:
    os.makedirs(target, exist_ok=True)
    mount("memory", target, "tmpfs", MS_NOSUID, f"mode={mode}" + (f",size={size_bytes}" if size_bytes else ""))


def build_tree(launch: dict[str, Any], root: str) -> None:
    mount("none", "/", None, MS_REC | MS_PRIVATE)  # nothing that follows may reach the machine's own mounts
    memory(root, "755")
    for name in SYSTEM:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}"):
            bind(f"/{name}", f"{root}/{name}", read_only=True)
    for name in WRITABLE:
        os.makedirs(f"{root}/{name}")
        os.chmod(f"{root}/{name}", 0o1777)
    for folder in launch["image_folders"]:
        if not os.path.exists(root + folder):
            bind(folder, root + folder, read_only=True)
    for mounted in launch["mounts"]:
        prepare_mount_point(mounted, root)
    for name in ("proc", "sys", "dev"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    if launch["read_only_root"]:
        make_read_only(root)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID)
    bind("/sys", f"{root}/sys", read_only=True)
    build_devices(f"{root}/dev")
    # A volume may be mounted inside another one: the outer one first.
    for mounted in sorted(launch["mounts"], key=lambda m: m["target"]):
        mount_volume(mounted, root)


def prepare_mount_point(mounted: dict[str, Any], root: str) -> None:
    """While the tree can still be written to."""
    target = root + mounted["target"]
    if mounted["source"] is None or os.path.isdir(mounted["source"]):
        os.makedirs(target, exist_ok=True)
    elif not mounted["target"].startswith("/dev/"):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "a").close()


def mount_volume(mounted: dict[str, Any], root: str) -> None:
    if mounted["source"] is None:
        memory(root + mounted["target"], "1777", mounted["size_bytes"])
    else:
        bind(mounted["source"], root + mounted["target"], read_only=mounted["read_only"])


def build_devices(dev: str) -> None:
    memory(dev, "755")
    for name in DEVICES:
        bind(f"/dev/{name}", f"{dev}/{name}")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{dev}/{name}")
    os.symlink("/proc/self/fd", f"{dev}/fd")
    memory(f"{dev}/shm", "1777", SHARED_MEMORY_BYTES)


def move_into(root: str) -> None:
    os.chdir(root)
    # With "." twice, the machine's tree comes to lie on top of the new one, and no folder is needed for it.
    call("syscall", SYS_PIVOT_ROOT[os.uname().machine], b".", b".")
    call("umount2", b".", MNT_DETACH)
    os.chdir("/")


def give_up_rights(launch: dict[str, Any]) -> None:
    if launch["drops_capabilities"]:
        for capability in range(LAST_CAPABILITY + 1):
            libc.prctl(PR_CAPBSET_DROP, capability)  # fails for those that this kernel does not know
    if launch["isolation"] == "namespaces":  # in a user namespace, the map of users has done it
        os.setgroups(launch["groups"])
        os.setresgid(*[launch["group"]] * 3)
        os.setresuid(*[launch["user"]] * 3)
    if launch["no_new_privileges"]:
        call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def become_the_command(launch: dict[str, Any]) -> NoReturn:
    arguments, environment = launch["arguments"], launch["environment"]
    os.chdir(launch["working_folder"])
    program = shutil.which(arguments[0], path=environment["PATH"])
    if program is None:
        raise FileNotFoundError(f'exec: "{arguments[0]}": executable file not found in $PATH')
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of the user has cleared it
    os.execve(program, arguments, environment)


def run(launch: dict[str, Any], report: int) -> NoReturn:
    try:
        if launch["isolation"] != "none":
            build_tree(launch, launch["root"])
            move_into(launch["root"])
            socket.sethostname(launch["host_name"])
            give_up_rights(launch)
        os.set_inheritable(report, False)
        become_the_command(launch)
    except Exception as error:  # noqa: BLE001 - whatever it is, only the report says it
        os.write(report, f"failed {error}\n".encode())
    os._exit(128)


def new_namespaces(launch: dict[str, Any]) -> None:
    user, group = os.geteuid(), os.getegid()
    kinds = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
    call("unshare", kinds | (CLONE_NEWUSER if launch["isolation"] == "user namespaces" else 0))
    if launch["isolation"] == "user namespaces":
        for name, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{launch['user']} {user} 1"),
            ("gid_map", f"{launch['group']} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)


def main() -> NoReturn:
    with open(sys.argv[1]) as file:
        launch = json.load(file)
    report = int(sys.argv[2])
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launch["parent"]:
        os._exit(128)  # it was killed before we could ask to be told
    if launch["isolation"] == "none":
        os.write(report, f"pid {os.getpid()}\n".encode())
        run(launch, report)
    try:
        new_namespaces(launch)
    except OSError as error:
        os.write(report, f"failed {error}\n".encode())
        os._exit(128)
    # util-linux' `unshare --fork` loses the signal that killed its child, hence a fork of our own.
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        theirs.send(b"!")
        if not theirs.recv(1):  # its parent was gone before the kernel was asked to tell
            os._exit(128)
        theirs.close()
        run(launch, report)
    theirs.close()
    if ours.recv(1):
        ours.send(b"!")
    ours.close()
    os.write(report, f"pid {child}\n".encode())
    nothing = os.open("/dev/null", os.O_RDWR)
    for number in (1, 2, report):  # the log ends with the container, not with us
        os.dup2(nothing, number)
    _, status = os.waitpid(child, 0)
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
