"""Processes that come and go: forked with a client at work (as Airflow's tasks are), and those that need no client."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llm_eval import storage
from tests.conftest import CHECKOUT
from tests.object_stores.conftest import Store

# The parent's thread goes on asking while it forks; each child does what a task does, and ends as a task does.
FORKS = """
import os, sys, threading, time
from llm_eval import storage
root, generations = sys.argv[1], int(sys.argv[2])
storage.write_json(f"{root}/parent.json", "parent")
stop = threading.Event()
counted = [0]

def go_on():
    while not stop.is_set():
        assert storage.read_json(f"{root}/parent.json") == "parent"
        counted[0] += 1
        time.sleep(0.01)

def task(generation):
    if storage.read_json(f"{root}/parent.json") != "parent":
        os._exit(3)
    storage.write_json(f"{root}/{os.getpid()}.json", generation)
    if generation:
        child = os.fork()
        if not child:
            task(generation - 1)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            os._exit(4)
    os._exit(0)

thread = threading.Thread(target=go_on)
thread.start()
codes = []
for n in range(int(sys.argv[3])):
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.write(2, f"{time.monotonic() - began}\\n".encode())
        task(generations)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
before = counted[0]
while counted[0] < before + 3:
    time.sleep(0.01)
stop.set()
thread.join()
print(codes)
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=CHECKOUT, capture_output=True, text=True, timeout=240
    )


def test_forked_tasks_and_what_they_fork_read_and_write_while_their_parent_goes_on(store: Store):
    done = run(FORKS, store.root, "2", "3")

    assert done.stdout == "[0, 0, 0]\n", done.stderr
    assert len(storage.files(store.root)) == 1 + 3 * 3
    assert min(map(float, done.stderr.split())) < 0.5  # nobody waits for a thread that the fork has not brought along


def test_a_child_that_ends_like_a_program_leaves_its_parent_the_client(store: Store):
    code = """
import os, sys
from llm_eval import storage
storage.write_json(f"{sys.argv[1]}/x.json", 1)
child = os.fork()
if not child:
    storage.read_json(f"{sys.argv[1]}/x.json")
    sys.exit(0)
os.waitpid(child, 0)
print([storage.read_json(f"{sys.argv[1]}/x.json") for _ in range(3)])
"""

    assert run(code, store.root).stdout == "[1, 1, 1]\n"


def test_threads_share_one_client(store: Store):
    code = """
import sys, threading
from llm_eval import storage
found = []
threads = [threading.Thread(target=lambda: found.append(storage.filesystem(sys.argv[1])[0])) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(set(map(id, found))))
"""

    assert run(code, store.root).stdout == "1\n"


@pytest.mark.slow
@pytest.mark.parametrize(("root", "loaded"), [("s3://bucket/evals", True), ("var", False)])
def test_airflow_tasks_inherit_what_their_root_needs_and_no_thread(root: str, loaded: bool):
    code = """
import os, sys, threading
os.environ["LLM_EVAL_ROOT"] = sys.argv[1]
from llm_eval.airflow import inheritance
inheritance.bequeath(["airflow", "scheduler"])
print("s3fs" in sys.modules, [t.name for t in threading.enumerate() if t.name.startswith("fsspec")])
"""

    done = run(code, root)

    assert done.stdout.splitlines()[-1] == f"{loaded} []", done.stderr


@pytest.mark.parametrize("root", ["{folder}", "file://{folder}", "memory://evals"])
def test_a_root_that_lies_elsewhere_loads_nothing_of_s3(root: str, tmp_path):
    code = """
import sys
from llm_eval import storage
storage.write_json(f"{sys.argv[1]}/x.json", 1)
assert storage.create_json(f"{sys.argv[1]}/y.json", 2)
assert not storage.create_json(f"{sys.argv[1]}/y.json", 3)
assert [storage.read_json(uri) for uri in storage.files(sys.argv[1], ".json")] == [1, 2]
assert [uri.rpartition("/")[2] for uri, _ in storage.read_each(storage.tree(sys.argv[1]))] == ["x.json", "y.json"]
assert len(storage.states(sys.argv[1])) == 2
storage.delete(f"{sys.argv[1]}/y.json")
storage.delete(f"{sys.argv[1]}/y.json")
assert [storage.exists(f"{sys.argv[1]}/{n}.json") for n in "xy"] == [True, False]
print(sorted(m for m in sys.modules if m.split(".")[0] in ("s3fs", "botocore", "aiobotocore", "aiohttp")))
"""

    done = run(code, root.format(folder=tmp_path))

    assert done.stdout == "[]\n", done.stderr
