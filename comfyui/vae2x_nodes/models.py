"""Opened models, which stay as long as ComfyUI keeps an output that holds them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import vae2x

DEMOS = ("demo:2x", "demo:base")
# Offered without typing their names.
HUB = ("spacepxl/Wan2.1-VAE-upscale2x", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers:vae", "Qwen/Qwen-Image:vae")
DEVICES = ("auto", "cpu", "cuda", "vulkan", "metal")
DTYPES = ("f32", "bf16", "f16")


@dataclass(frozen=True)
class Spec:
    """Which weights, and how they are opened."""

    weights: str
    device: str = "auto"
    dtype: str = "f32"
    # 0: all cores.
    threads: int = 0
    # Of a file, so that one that was replaced is opened again.
    stamp: tuple[int, int] | None = None


class LoadedVae:
    """What Load VAE (vae2x) passes on."""

    def __init__(self, spec: Spec, vae: vae2x.Vae) -> None:
        self.spec = spec
        self.vae = vae
        # The same weights as the background opens them, from its first clip on.
        self.in_background: LoadedVae | None = None

    def __repr__(self) -> str:
        return repr(self.vae)


_opened: weakref.WeakValueDictionary[Spec, LoadedVae] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def stamp(weights: str) -> tuple[int, int] | None:
    """When a file was changed, and its size; None for a folder or a name."""
    path = Path(weights)
    if not path.is_file():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def open_vae(spec: Spec, progress: Callable[[float], Any] | None = None, cancel: Any = None) -> LoadedVae:
    """Opens a model, or returns the one that is open."""
    with _lock:
        loaded = _opened.get(spec)
        if loaded is None:
            vae = vae2x.Vae.open(
                spec.weights,
                device=spec.device,
                dtype=spec.dtype,
                threads=spec.threads or None,
                progress=progress,
                cancel=cancel,
            )
            loaded = _opened[spec] = LoadedVae(spec, vae)
        return loaded


def for_background(spec: Spec, device: str, cores: int) -> Spec:
    """The same weights on the CPU, with a core left to the prompt that runs meanwhile.

    `device` is the one that `spec` has come to.
    """
    threads = spec.threads or max(1, cores - 1)
    if device == "cpu" and threads == (spec.threads or cores):
        return spec
    return replace(spec, device="cpu", threads=threads)
