import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from llm_eval import child, signals
from llm_eval.child import Child, child_environment, end_all, last_word, stage_arguments, stage_command
from llm_eval.settings import HOME, Settings
from tests.conftest import SOON_SECONDS

AIRFLOW_WAITS_SECONDS = 5.0  # its supervisor's escalation_delay, from SIGTERM to SIGKILL


def python(script):
    return [sys.executable, "-c", textwrap.dedent(script)]


def start(script):
    return Child(python(script), {**os.environ, "PYTHONUNBUFFERED": "1"})


def is_running(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_until_gone(pid):
    limit = time.monotonic() + SOON_SECONDS
    while is_running(pid) and time.monotonic() < limit:
        time.sleep(0.02)
    return not is_running(pid)


def test_both_outputs_of_the_child_reach_the_log_line_by_line(caplog):
    caplog.set_level("INFO")

    ending = start("import sys; print('one'); print('two', file=sys.stderr)").follow()

    assert caplog.messages == ["one", "two"]
    assert ending.exit_code == 0


def test_the_reason_is_the_childs_own_error_message():
    ending = start(
        """
        import sys
        print("loading")
        print("error: model 'm': its folder does not exist.\\nLooked at /models/m.", file=sys.stderr)
        sys.exit(2)
        """
    ).follow()

    assert ending == (2, "model 'm': its folder does not exist.\nLooked at /models/m.")


@pytest.mark.parametrize(
    ("lines", "exit_code", "reason"),
    [
        (["a", "error: first", "error: second"], 1, "second"),
        (["Traceback …", "KeyError: 'x'", ""], 1, "KeyError: 'x'"),
        ([], 3, "exit code 3, and not a word"),
        (["loading"], -9, "the stage's process was ended by SIGKILL (out of memory?). Its last line: loading"),
        (["loading"], -11, "the stage's process was ended by SIGSEGV. Its last line: loading"),
    ],
)
def test_the_last_word(lines, exit_code, reason):
    assert last_word(lines, exit_code) == reason


def test_killing_reaches_what_the_child_started():
    running = start("import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid); p.wait()")
    grandchild = int(running._process.stdout.readline())

    running.kill()

    assert wait_until_gone(grandchild)
    assert running._process.poll() == -signal.SIGTERM


def test_a_child_is_asked_to_end_once():
    running = start(
        """
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    running._process.stdout.readline()

    for _ in range(3):
        running.ask_to_end()

    assert running._process.stdout.readline() == "asked\n"
    os.kill(running._process.pid, signal.SIGKILL)
    assert running._process.stdout.read() == ""


def test_a_child_is_asked_once_by_whatever_threads(monkeypatch):
    running = start("import time; time.sleep(60)")
    sent = []
    with monkeypatch.context() as patched:
        patched.setattr(running, "_signal", sent.append)
        patched.setattr(running._process, "poll", lambda: time.sleep(0.2))  # all have come before it says: still there
        askers = [threading.Thread(target=running.ask_to_end) for _ in range(4)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()

    assert sent == [signal.SIGTERM]
    running._signal(signal.SIGKILL)
    running._process.wait()


def test_who_asks_waits_longer_than_the_child_takes_and_less_than_airflow_waits():
    assert signals.GRACE_SECONDS < child.TERMINATE_SECONDS < AIRFLOW_WAITS_SECONDS


def test_a_child_that_ignores_sigterm_is_killed_all_the_same(monkeypatch):
    monkeypatch.setattr(child, "TERMINATE_SECONDS", 0.2)
    running = start(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    running._process.stdout.readline()

    running.kill()

    assert running._process.wait(SOON_SECONDS) == -signal.SIGKILL


def test_many_children_that_ignore_sigterm_end_within_the_time_of_one(monkeypatch):
    monkeypatch.setattr(child, "TERMINATE_SECONDS", 1.0)
    hung = [Child(["sh", "-c", "trap '' TERM; echo ready; exec sleep 60"], os.environ) for _ in range(30)]
    for each in hung:
        each._process.stdout.readline()
    began = time.monotonic()

    end_all(hung)

    assert time.monotonic() - began < 15
    assert [each._process.wait(SOON_SECONDS) for each in hung] == [-signal.SIGKILL] * 30


def test_what_interrupts_the_task_ends_the_child(monkeypatch):
    running = start("import time; print('ready', flush=True); time.sleep(60)")
    monkeypatch.setattr(child.logger, "info", lambda *_: (_ for _ in ()).throw(TimeoutError))

    with pytest.raises(TimeoutError):
        running.follow()

    assert running._process.poll() == -signal.SIGTERM


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can tie a child to its parent")
def test_the_child_dies_with_its_task_even_when_that_is_killed():
    task = subprocess.Popen(
        python(
            """
            import os, sys
            from llm_eval.child import Child
            running = Child([sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
            print(running._process.pid, flush=True)
            running.follow()
            """
        ),
        stdout=subprocess.PIPE,
        text=True,
        cwd=HOME,
    )
    pid = int(task.stdout.readline())
    assert is_running(pid)

    task.kill()
    task.wait()

    assert wait_until_gone(pid)


def test_the_command_names_the_shard_only_where_there_are_several():
    assert stage_arguments("infer", "/data/runs/m/d/r", "0/1") == ["infer", "/data/runs/m/d/r"]
    assert stage_arguments("infer", "/data/runs/m/d/r", "1/4") == ["infer", "/data/runs/m/d/r", "--shard", "1/4"]


def test_another_interpreter_may_run_the_stage():
    assert stage_command({"LLM_EVAL_PYTHON": "/opt/gpu/bin/python"}, ["infer"])[0] == "/opt/gpu/bin/python"
    assert stage_command({}, ["infer"]) == [sys.executable, "-m", "llm_eval", "infer"]


def test_the_child_means_the_same_root_and_the_same_library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = {"LLM_EVAL_ROOT": "var", "LLM_EVAL_MODELS": "here", "PYTHONPATH": "/opt/extra", "KEY": "kept"}

    passed = child_environment(environment, Settings.from_environment(environment))

    assert Settings.from_environment(passed).root == str(tmp_path / "var")
    assert Settings.from_environment(passed).models[0] == tmp_path / "here"
    assert passed["PYTHONPATH"] == f"{HOME}{os.pathsep}/opt/extra"
    assert passed["KEY"] == "kept"


def test_a_process_can_ask_to_end_with_the_one_that_started_it():
    script = (
        "import os, sys, time; from llm_eval.child import die_with_parent\n"
        "if os.fork() == 0:\n"
        "    die_with_parent(); print(os.getpid(), flush=True); time.sleep(60)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())

    parent.kill()
    parent.wait()

    assert wait_until_gone(child)
