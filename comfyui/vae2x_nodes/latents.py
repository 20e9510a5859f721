"""ComfyUI's LATENT: a dict whose `samples` are `[B, 16, h, w]` or `[B, 16, T, h, w]`, raw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import vae2x

SPACES = ("raw", "normalized", "auto")

# What has this many channels, for people who ask why it cannot be decoded.
OTHERS = {
    4: "it is Stable Diffusion's or SDXL's",
    48: "it is Wan2.2-5B's (Wan2.2-14B's have 16)",
    64: "it is Qwen-Image 2.1's (those of Qwen-Image up to 2512 have 16)",
    128: "it is FLUX.2's or LTX-Video's",
}


def samples(latent: Mapping[str, Any]) -> Any:
    """The tensor of a LATENT; of nested ones, as of video with sound, the first with 16 channels."""
    value = latent.get("samples")
    if value is None:
        raise ValueError("the latent has no samples; connect the output of a sampler or of Load Latent")
    if not getattr(value, "is_nested", False):
        return value
    parts = list(value.unbind())
    return next((part for part in parts if part.ndim in (4, 5) and part.shape[1] == 16), parts[0])


def check(shape: tuple[int, ...], channels: int) -> None:
    """Fails, in words, if this is not a latent of the model."""
    if len(shape) not in (4, 5):
        raise ValueError(
            f"expected a latent [B, {channels}, h, w] or [B, {channels}, T, h, w], found shape {list(shape)}"
        )
    if shape[1] != channels:
        what = OTHERS.get(shape[1], "it is another model's")
        raise ValueError(
            f"this latent has {shape[1]} channels: {what}; vae2x takes latents of {channels} channels, those of Wan2.1, "
            "Wan2.2-14B, Qwen-Image up to 2512, Krea 2 and Anima"
        )


def to_array(latent: Mapping[str, Any], channels: int = 16) -> np.ndarray:
    """`[B, 16, h, w]` or `[B, 16, T, h, w]` as float32."""
    value = samples(latent)
    check(tuple(value.shape), channels)
    if hasattr(value, "detach"):
        value = value.detach().cpu().float().numpy()
    return np.ascontiguousarray(value, dtype=np.float32)


def to_vae2x(array: np.ndarray, space: str, metadata: Mapping[str, Any] | None = None) -> vae2x.Latent:
    """A latent of the package; with "auto" its space is found out."""
    axes = "BCTHW" if array.ndim == 5 else "BCHW"
    return vae2x.Latent(array, space=None if space == "auto" else space, axes=axes, metadata=metadata)


def from_array(array: np.ndarray, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A LATENT, with what else `like` has, such as a mask."""
    import torch

    return {**(like or {}), "samples": torch.from_numpy(np.ascontiguousarray(array))}
