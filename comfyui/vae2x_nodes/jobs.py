"""Work that goes on while ComfyUI executes other prompts: one job at a time, in order, and no more than a few waiting.

The thread that works is there as long as there are jobs. Python waits for it when the program ends, so that jobs are finished
before. It knows neither ComfyUI nor vae2x.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("vae2x")

# Jobs that are kept after their end, to be listed.
KEPT = 32
# How often one who waits for a place looks whether it should give up.
PAUSE = 0.1
# Ctrl-C reaches programs that a job has started, too, before the main thread has ended.
CTRL_C_SECONDS = 5.0

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"


@dataclass(eq=False)
class Job:
    """A piece of work: `work(job)` calls `job.report`, and ends soon, with any exception, when `job.cancel` is set."""

    title: str
    work: Callable[[Job], Sequence[Any]]
    changed: Callable[[Job], Any]
    # Called once, after its end.
    ended: Callable[[Job], Any]
    id: int = 0
    state: str = WAITING
    fraction: float = 0.0
    error: str | None = None
    result: list[str] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)

    def report(self, fraction: float) -> None:
        """Reports the completed fraction."""
        self.fraction = fraction
        _tell(self.changed, self)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = ("id", "title", "state", "fraction", "error", "result")
        return {name: getattr(self, name) for name in names}


class Jobs:
    """A queue of jobs."""

    def __init__(self, limit: int) -> None:
        """No more than `limit` jobs wait or run."""
        self.limit = limit
        self._changed = threading.Condition()
        self._open: deque[Job] = deque()
        self._ended: deque[Job] = deque(maxlen=KEPT)
        self._last_id = 0
        self._thread: threading.Thread | None = None

    def add(self, job: Job, give_up: Callable[[], Any] = lambda: None) -> Job:
        """Adds a job. While the queue is full this waits, and calls `give_up`, which may raise an exception."""
        with self._changed:
            while len(self._open) >= self.limit:
                self._changed.wait(PAUSE)
                give_up()
            self._last_id += 1
            job.id = self._last_id
            self._open.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vae2x jobs", daemon=False)
                self._thread.start()
        _tell(job.changed, job)
        return job

    def all(self) -> list[Job]:
        """The jobs, first those that have ended."""
        with self._changed:
            return [*self._ended, *self._open]

    def cancel(self, id: int) -> bool:
        """Stops a job, if it has not ended."""
        with self._changed:
            found = next((job for job in self._open if job.id == id), None)
        if found is not None:
            found.cancel.set()
        return found is not None

    def is_idle(self) -> bool:
        """Whether all jobs have ended."""
        with self._changed:
            return not self._open

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._open:
                    self._thread = None
                    return
                job = self._open[0]
            _perform(job)
            with self._changed:
                self._open.popleft()
                self._ended.append(job)
                self._changed.notify_all()
            _tell(job.changed, job)
            _tell(job.ended, job)


def _perform(job: Job) -> None:
    for last in (False, True):
        if job.cancel.is_set():
            job.state = CANCELLED
            return
        job.state = RUNNING
        job.report(0.0)
        try:
            job.result = [str(item) for item in job.work(job)]
        except BaseException as error:  # noqa: BLE001, whatever happens is shown and must not stop the queue
            if job.cancel.is_set():
                job.state = CANCELLED
                return
            if not last and _was_ctrl_c():
                log.info("%s: once more, as the program is ending", job.title)
                continue
            job.state, job.error = FAILED, f"{error}" or type(error).__name__
            log.error("%s: failed in the background: %s", job.title, job.error, exc_info=error)
            return
        job.state, job.fraction = DONE, 1.0
        return


def _was_ctrl_c() -> bool:
    """Whether the program is ending, so that a Ctrl-C may have stopped a program that the job uses."""
    main = threading.main_thread()
    if threading.current_thread() is main:
        return False
    end = time.monotonic() + CTRL_C_SECONDS
    while main.is_alive() and time.monotonic() < end:
        time.sleep(PAUSE)
    return not main.is_alive()


def _tell(callback: Callable[[Job], Any], job: Job) -> None:
    try:
        callback(job)
    except Exception:
        log.exception("%s: its state could not be shown", job.title)
