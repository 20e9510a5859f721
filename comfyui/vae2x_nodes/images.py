"""ComfyUI's IMAGE: `[B, H, W, C]`, float32 in [0, 1], in which the frames of clips are images as well."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_array(image: Any) -> np.ndarray:
    """`[B, H, W, 3 or 4]`, float32 in [0, 1]."""
    if hasattr(image, "detach"):
        image = image.detach().cpu().float().numpy()
    array = np.asarray(image, dtype=np.float32)
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3, 4):
        raise ValueError(f"expected images [B, H, W, 3], found shape {list(array.shape)}")
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=3)
    return np.clip(np.nan_to_num(array), 0.0, 1.0)


def without_opacity(array: np.ndarray) -> np.ndarray:
    """The first three channels."""
    return np.ascontiguousarray(array[..., :3])


def from_array(array: np.ndarray) -> Any:
    """An IMAGE of pixels `[..., H, W, C]`, without a copy."""
    import torch

    return torch.from_numpy(array.reshape(-1, *array.shape[-3:]))
