"""Clips that are written while ComfyUI executes other prompts, and how their state is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import host, models
from .jobs import CANCELLED, DONE, FAILED, RUNNING, WAITING, Job, Jobs
from .models import LoadedVae
from .writing import Clip

# Jobs that wait or run. Their latents and sound are all that they hold.
LIMIT = 4
# Between two lines about one job.
PAUSE = 0.5

JOBS = Jobs(LIMIT)


@dataclass
class Page:
    """Shows the state of a job on its node, through `web/vae2x.js`.

    ComfyUI's own messages for texts and results name a node by its number alone. By the time a job ends, the page may show another
    workflow, in which that number is another node's; so ours are told by their own message, and the page looks first.
    """

    prompt_id: str | None
    node_id: str | None
    # What the page shows below the node once the file is there.
    ui: Callable[[Sequence[Any]], dict[str, Any]]
    _shown: tuple[str, float] = field(default=("", 0.0))
    _tells_end: bool = True

    def changed(self, job: Job) -> None:
        """Shows the state, not too often."""
        state, when = self._shown
        now = time.monotonic()
        if state == job.state and now - when < PAUSE:
            return
        self._shown = (job.state, now)
        event = {"node": self.node_id, "prompt_id": self.prompt_id, "text": line(job), **job.as_dict()}
        if job.state == DONE:
            host.log.info("%s: written in the background", job.title)
            event["output"] = self.ui(job.result)
        host.send("vae2x.job", event)
        if self._tells_end and not threading.main_thread().is_alive() and job.state == RUNNING:
            self._tells_end = False
            host.log.warning("finishing %s before the program ends; Ctrl-C gives it up", job.title)


def line(job: Job) -> str:
    """The state of a job in words."""
    if job.state == WAITING:
        return f"{job.title}: waiting"
    if job.state == RUNNING:
        return f"{job.title}: {job.fraction:.0%} in the background"
    return {
        DONE: f"{job.title}: written",
        FAILED: f"{job.title}: failed: {job.error}",
        CANCELLED: f"{job.title}: cancelled",
    }[job.state]


def on_cpu(loaded: LoadedVae, job: Job) -> LoadedVae:
    """The same weights on the CPU, with a core left over."""
    spec = models.for_background(loaded.spec, loaded.vae.device, host.core_count())
    if spec == loaded.spec:
        return loaded
    if loaded.in_background is None:
        loaded.in_background = models.open_vae(spec, cancel=job.cancel)
    return loaded.in_background


def add(clip: Clip, vae: LoadedVae, page: Page, ended: Callable[[], Any]) -> Job:
    """Queues a clip. A full queue waits, until the user interrupts; `ended` is called after the job's end."""

    def work(job: Job) -> list[Path]:
        finish = clip.finish
        if finish.color_vae is not None:
            finish = replace(finish, color_vae=on_cpu(finish.color_vae, job))
        return replace(clip, finish=finish).write(on_cpu(vae, job).vae, job.report, job.cancel)

    return JOBS.add(Job(clip.path.name, work, page.changed, lambda job: ended()), host.raise_if_interrupted)
