"""The package itself: what it brings, how it is imported, and its program."""

import importlib.metadata
import subprocess
import sys
import time
from pathlib import Path

from conftest import program

import vae2x


def test_versions_agree():
    assert vae2x.__version__ == importlib.metadata.version("vae2x")
    assert vae2x.__version__ in program("--version").stdout


def test_types_come_along():
    folder = Path(vae2x.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_vae2x.pyi").exists()


def test_importing_is_fast_and_loads_no_numpy():
    # Of this process alone: other programs run here too.
    code = "import sys, time; t = time.process_time(); import vae2x; print(time.process_time() - t, 'numpy' in sys.modules)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    seconds, has_numpy = zip(*(run.stdout.split() for run in runs))
    assert min(map(float, seconds)) < 0.2
    assert set(has_numpy) == {"False"}


def test_the_program_has_the_exit_codes_of_the_binary(tmp_path):
    assert program("info", "demo:2x").stdout
    assert program("decode", "--nonsense", check=False).returncode == 2
    missing = program("decode", tmp_path / "missing.latent", "--vae", "demo:2x", "-o", tmp_path / "a.png", check=False)
    assert missing.returncode == 1 and "missing.latent" in missing.stderr
    module = subprocess.run([sys.executable, "-m", "vae2x", "--version"], capture_output=True, text=True, check=True)
    assert module.stdout == program("--version").stdout


def test_a_signal_ends_the_program_and_leaves_nothing(tmp_path):
    import numpy as np

    np.save(tmp_path / "clip.npy", np.zeros((16, 400, 24, 24), np.float32))
    path = Path(sys.executable).with_name("vae2x")
    arguments = ["decode", tmp_path / "clip.npy", "--vae", "demo:2x", "-o", tmp_path / "clip.y4m"]
    run = subprocess.Popen([path, *arguments, "--latent-space", "raw"], stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".*")) and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(2)
    started = time.monotonic()
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130, said
    assert time.monotonic() - started < 2
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npy"]
