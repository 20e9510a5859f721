"""Runs `ray_shards.py` on a cluster of two workers on this machine, kills one midway, and compares with a single run.

    python test_ray_shards.py [VAE2X]      # needs numpy and ray[data]
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LATENTS, SHARDS = 12, 6


def ray_workers() -> list[int]:
    """Processes of Ray that run a shard now."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            name = (entry / "cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if entry.name.isdigit() and name.startswith(b"ray::") and b"Map(run)" in name:
            found.append(int(entry.name))
    return found


def main() -> None:
    """Fails if a file differs or no worker was killed."""
    program = sys.argv[1] if len(sys.argv) > 1 else "vae2x"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "latents").mkdir()
        noise = np.random.default_rng(7)
        for i in range(LATENTS):
            np.save(folder / "latents" / f"{i}.npy", noise.standard_normal((16, 48, 48), dtype=np.float32))
        command = ["decode", str(folder / "latents"), "--vae", "demo:2x", "--latent-space", "raw", "-o"]
        subprocess.run([program, *command, str(folder / "one")], check=True, capture_output=True)
        many = folder / "many"
        script = [sys.executable, str(Path(__file__).with_name("ray_shards.py")), "--shards", str(SHARDS), "--cpus", "1", "--program", program]
        cluster = {**os.environ, "RAY_OVERRIDE_RESOURCES": '{"CPU": 2}'}
        running = subprocess.Popen([*script, "--", *command, str(many)], env=cluster)
        killed = 0
        while running.poll() is None:
            workers = ray_workers()
            if not killed and workers and many.is_dir() and any(many.iterdir()):
                os.kill(workers[0], signal.SIGKILL)
                killed = workers[0]
                print(f"killed worker {killed}")
            time.sleep(0.2)
        assert running.returncode == 0, running.returncode
        assert killed, "no worker was killed"
        expected = {file.name: file.read_bytes() for file in (folder / "one").iterdir()}
        found = {file.name: file.read_bytes() for file in many.iterdir()}
        assert len(expected) == LATENTS and found == expected, (sorted(expected), sorted(found))
        print(f"{len(found)} files are those of a single run")


if __name__ == "__main__":
    main()
