"""What the tests share: models, latents and the program."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vae2x

# Shells start commands in the background of a script with Ctrl-C ignored, which child processes inherit; a handler they do not.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def vae():
    return vae2x.Vae.open("demo:2x")


@pytest.fixture(scope="session")
def base():
    return vae2x.Vae.open("demo:base")


def latent_values(*shape, seed=1):
    """A raw latent of `shape` with smooth values."""
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return 0.3 * values


def photo(height, width, seed=2):
    """An image with edges and gradients, `[height, width, 3]`, uint8."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([x * 255 / width, y * 255 / height, 128 + 100 * np.sin((x + seed * y) / 7)], axis=-1)
    return image.astype(np.uint8)


def program(*arguments, check=True):
    """Runs the program that came with the wheel."""
    path = Path(sys.executable).with_name("vae2x")
    run = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    if check:
        assert run.returncode == 0, run.stderr
    return run
