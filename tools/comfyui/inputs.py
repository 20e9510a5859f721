"""The latents, images and sounds of the checks, made by the wheel from formulas."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import vae2x
from PIL import Image
from safetensors.numpy import save_file


def waves(frames: int, height: int, width: int) -> np.ndarray:
    """Frames `[T, H, W, 3]` of coloured waves that move."""
    t, y, x, c = np.ogrid[:frames, :height, :width, :3]
    return (0.5 + 0.5 * np.sin(x / (9 + 3 * c) + t / 2) * np.cos(y / (13 - 2 * c) - t / 3)).astype(np.float32)


def make(folder: Path) -> None:
    """Writes them into ComfyUI's input folder."""
    base = vae2x.Vae.open("demo:base")
    image = waves(1, 192, 256)[0]
    Image.fromarray((image * 255).round().astype(np.uint8)).save(folder / "photo.png")
    base.encode(image[None]).save(folder / "image.latent")
    clip = base.encode(waves(9, 192, 256), clip=True)
    clip.save(folder / "clip.latent")
    raw = clip.raw().reshape(1, 16, 3, 24, 32)
    # 33 frames of 1920 x 2048.
    long = np.tile(raw, (1, 1, 3, 5, 4))
    vae2x.Latent(long, space="raw", axes="BCTHW").save(folder / "long.latent")
    # 33 frames of 384 x 1024, which take a while on one thread.
    vae2x.Latent(np.tile(raw, (1, 1, 3, 1, 2)), space="raw", axes="BCTHW").save(folder / "medium.latent")
    marker = np.zeros(0, np.float32)
    other = {"latent_tensor": np.zeros((1, 48, 1, 8, 8), np.float32), "latent_format_version_0": marker}
    save_file(other, folder / "wan22_5b.latent")
    with wave.open(str(folder / "tone.wav"), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(44100)
        samples = 9000 * np.sin(np.arange(44100 * 3) / 20)
        sound.writeframes(np.repeat(samples.astype("<i2")[:, None], 2, axis=1).tobytes())
