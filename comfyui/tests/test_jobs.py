"""Work in the background."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from vae2x_nodes import jobs
from vae2x_nodes.jobs import Job, Jobs

SECONDS = 20.0


def job(title: str, work: Any, changed: Any = lambda job: None, ended: Any = lambda job: None) -> Job:
    return Job(title, work, changed, ended)


def wait(queue: Jobs) -> None:
    end = time.monotonic() + SECONDS
    while not queue.is_idle():
        assert time.monotonic() < end
        time.sleep(0.01)


def states(queue: Jobs) -> list[str]:
    return [item.state for item in queue.all()]


def test_jobs_run_in_order_and_tell_their_state() -> None:
    queue, seen, ends = Jobs(3), [], []

    def work(item: Job) -> list[str]:
        item.report(0.5)
        return [item.title]

    def changed(item: Job) -> None:
        seen.append((item.title, item.state, item.fraction))

    for title in ("a", "b"):
        queue.add(job(title, work, changed, lambda item: ends.append(item.title)))
    wait(queue)
    assert [item.result for item in queue.all()] == [["a"], ["b"]]
    own = [entry[1:] for entry in seen if entry[0] == "b" and entry[1] != "waiting"]
    assert own == [("running", 0.0), ("running", 0.5), ("done", 1.0)]
    assert [item.id for item in queue.all()] == [1, 2]
    deadline = time.monotonic() + SECONDS
    while ends != ["a", "b"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_queue_waits() -> None:
    queue, go = Jobs(2), threading.Event()
    for title in ("a", "b"):
        queue.add(job(title, lambda item: [] if go.wait(SECONDS) else []))
    asked = []

    def give_up() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.add(job("c", lambda item: []), give_up)
    assert len(queue.all()) == 2
    adding = threading.Thread(target=queue.add, args=(job("c", lambda item: []),))
    adding.start()
    go.set()
    adding.join(SECONDS)
    wait(queue)
    assert [item.title for item in queue.all()] == ["a", "b", "c"]


def test_jobs_can_be_cancelled() -> None:
    queue = Jobs(2)

    def work(item: Job) -> list[str]:
        assert item.cancel.wait(SECONDS)
        raise RuntimeError("stopped")

    running, waiting = (queue.add(job(title, work)) for title in "ab")
    assert queue.cancel(waiting.id)
    assert queue.cancel(running.id)
    wait(queue)
    assert states(queue) == ["cancelled", "cancelled"]
    assert running.error is None
    assert not queue.cancel(running.id)
    assert not queue.cancel(99)


def test_a_failure_is_kept_and_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(jobs, "_was_ctrl_c", lambda: False)
    queue = Jobs(2)

    def work(item: Job) -> list[str]:
        raise ValueError("the disk is full")

    queue.add(job("a", work))
    queue.add(job("b", lambda item: ["b"]))
    wait(queue)
    assert states(queue) == ["failed", "done"]
    assert queue.all()[0].error == "the disk is full"
    assert "a: failed in the background: the disk is full" in caplog.text


def test_callbacks_that_fail_stop_nothing() -> None:
    def bad(item: Job) -> None:
        raise RuntimeError("the page is gone")

    queue = Jobs(2)
    queue.add(job("a", lambda item: ["a"], bad, bad))
    queue.add(job("b", lambda item: ["b"]))
    wait(queue)
    assert states(queue) == ["done", "done"]


def test_what_ctrl_c_stopped_runs_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_was_ctrl_c", lambda: True)
    queue, tries = Jobs(1), []

    def work(item: Job) -> list[str]:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("FFmpeg ended")
        return ["a"]

    queue.add(job("a", work))
    wait(queue)
    assert states(queue) == ["done"]
    assert len(tries) == 2


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from vae2x_nodes.jobs import Job, Jobs

def work(job):
    time.sleep(0.3)
    Path({folder!r}, job.title).touch()
    return []

queue = Jobs(3)
for title in "abc":
    queue.add(Job(title, work, print, print))
"""


def test_python_ends_after_all_jobs(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[1])
    program = PROGRAM.format(root=root, folder=str(tmp_path))
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
