"""A headless ComfyUI on a free port of this machine, and its HTTP API."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

START_SECONDS = 600
PROMPT_SECONDS = 300
PAUSE = 0.05


class Refused(Exception):
    """The server did not take a prompt; the text is its answer."""


class Failed(Exception):
    """A node failed; the text is its message."""

    def __init__(self, message: dict[str, Any]) -> None:
        super().__init__(f"{message.get('node_type')}: {message.get('exception_message', '').strip()}")
        self.message = message


class Interrupted(Exception):
    """The prompt was interrupted; `time` is when, in seconds of `time.time()`."""

    def __init__(self, message: dict[str, Any]) -> None:
        super().__init__("interrupted")
        self.time = message["timestamp"] / 1000


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running ComfyUI; ends with the `with` block."""

    def __init__(self, checkout: Path, base: Path, *, has_ffmpeg: bool = True, more: list[str] | None = None) -> None:
        self.checkout, self.base = checkout, base
        self.port = free_port()
        self.log_path = base / "server.log"
        arguments = [
            *("--cpu", "--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(base)),
            *("--disable-auto-launch", "--disable-api-nodes", "--database-url", "sqlite:///:memory:"),
            *(more or []),
        ]
        environment = dict(os.environ)
        if not has_ffmpeg:
            environment["PATH"] = str(_path_without_ffmpeg(base))
            environment.pop("VAE2X_FFMPEG", None)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "main.py", *arguments],
                cwd=checkout,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own, which gets signals as one that runs in a terminal does.
                start_new_session=True,
                # A shell that runs this script in the background makes its children ignore Ctrl-C.
                preexec_fn=_heed_ctrl_c,
            )

    def __enter__(self) -> Server:
        end = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"ComfyUI did not start:\n{self.log()[-4000:]}")
            try:
                self.get("/system_stats")
                return self
            except OSError:
                if time.monotonic() > end:
                    self.stop()
                    raise SystemExit(f"ComfyUI did not start in {START_SECONDS} s:\n{self.log()[-4000:]}") from None
                time.sleep(0.5)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def ctrl_c(self) -> None:
        """What a terminal does on Ctrl-C: the signal reaches all programs of the group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def log(self) -> str:
        """What it has printed."""
        return self.log_path.read_text(errors="replace")

    def url(self, path: str) -> str:
        """An address of this server."""
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str) -> Any:
        """A GET request's JSON."""
        with urllib.request.urlopen(self.url(path), timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any = None) -> Any:
        """A POST request's JSON, if there is any."""
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(self.url(path), data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None

    def submit(self, prompt: dict[str, Any], workflow: Any = None) -> str:
        """Queues a prompt; returns its id."""
        extra = {} if workflow is None else {"extra_data": {"extra_pnginfo": {"workflow": workflow}}}
        return self.post("/prompt", {"prompt": prompt, **extra})["prompt_id"]

    def ended(self, prompt_id: str) -> dict[str, Any] | None:
        """The history of a prompt that has ended."""
        return self.get(f"/history/{prompt_id}").get(prompt_id)

    def wait(self, prompt_id: str, seconds: float = PROMPT_SECONDS) -> dict[str, Any]:
        """The outputs of a prompt, by node."""
        end = time.monotonic() + seconds
        while (history := self.ended(prompt_id)) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"the prompt did not end in {seconds} s")
            if self.process.poll() is not None:
                raise SystemExit(f"ComfyUI ended:\n{self.log()[-4000:]}")
            time.sleep(PAUSE)
        for kind, message in history["status"]["messages"]:
            if kind == "execution_error":
                raise Failed(message)
            if kind == "execution_interrupted":
                raise Interrupted(message)
        return history["outputs"]

    def run(self, prompt: dict[str, Any], workflow: Any = None) -> dict[str, Any]:
        """Runs a prompt to its end."""
        return self.wait(self.submit(prompt, workflow))

    def output(self, item: dict[str, str]) -> Path:
        """The path of a file of `ui`."""
        return self.base / item["type"] / item["subfolder"] / item["filename"]


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _path_without_ffmpeg(base: Path) -> Path:
    """A folder with what a start of ComfyUI may call, but no ffmpeg."""
    folder = base / "bin"
    folder.mkdir()
    for name in ("git", "uname", "ldconfig", "gcc", "ld", "sh"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder
