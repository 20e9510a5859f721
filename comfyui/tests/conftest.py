"""Fixtures. No ComfyUI is needed: `host`, the only file that calls it, is replaced."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import vae2x  # noqa: E402
from vae2x_nodes import host, models  # noqa: E402


class Watched:
    """Work that nobody interrupts; it keeps what was reported."""

    reports: list[float] = []
    cancel = None

    def progress(self, fraction: float) -> None:
        self.reports.append(fraction)

    def __enter__(self) -> Watched:
        self.reports.clear()
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def comfy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Replaces what ComfyUI does for the nodes; returns the output folder."""
    output = tmp_path / "output"

    def new_output(prefix: str, width: int, height: int) -> tuple[Path, str, str, int]:
        path = output / prefix
        path.parent.mkdir(parents=True, exist_ok=True)
        subfolder = path.parent.relative_to(output).as_posix()
        return path.parent, "" if subfolder == "." else subfolder, path.name, 1

    monkeypatch.setattr(host, "Watched", Watched)
    monkeypatch.setattr(host, "new_output", new_output)
    monkeypatch.setattr(host, "keeps_metadata", lambda: True)
    monkeypatch.setattr(host, "executing", lambda: ("prompt", "7"))
    monkeypatch.setattr(host, "raise_if_interrupted", lambda: None)
    monkeypatch.setattr(host, "show_text", lambda node, text: None)
    monkeypatch.setattr(host, "send", lambda event, data: None)
    monkeypatch.setattr(host, "vae_files", lambda: ["a.safetensors"])
    monkeypatch.setattr(host, "vae_path", lambda name: None)
    return output


@pytest.fixture(scope="session")
def large() -> models.LoadedVae:
    """The 2x demo model."""
    return models.open_vae(models.Spec("demo:2x", "cpu"))


@pytest.fixture(scope="session")
def base() -> models.LoadedVae:
    """The base demo model."""
    return models.open_vae(models.Spec("demo:base", "cpu"))


def waves(frames: int, height: int, width: int) -> np.ndarray:
    """Frames `[T, H, W, 3]` of coloured waves that move."""
    t, y, x, c = np.ogrid[:frames, :height, :width, :3]
    return (0.5 + 0.5 * np.sin(x / (9 + 3 * c) + t / 2) * np.cos(y / (13 - 2 * c) - t / 3)).astype(np.float32)


@pytest.fixture(scope="session")
def clip(base: models.LoadedVae) -> np.ndarray:
    """The raw latent of a clip of 9 frames, `[1, 16, 3, 8, 12]`."""
    return base.vae.encode(waves(9, 64, 96), clip=True).raw()[None]


@pytest.fixture(scope="session")
def image(base: models.LoadedVae) -> np.ndarray:
    """The raw latents of two images, `[2, 16, 8, 12]`."""
    return base.vae.encode(waves(2, 64, 96)).raw()


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hides FFmpeg."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.delenv("VAE2X_FFMPEG", raising=False)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    assert vae2x.find_ffmpeg() is None
