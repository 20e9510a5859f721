"""Latents whose space cannot be forgotten."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from . import _vae2x
from ._arrays import latent_values

if TYPE_CHECKING:
    from numpy.typing import NDArray
    import numpy as np

Space = Literal["raw", "normalized"]


def texts(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Metadata as texts; what is not a text becomes JSON."""
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in metadata.items()]


class Latent:
    """A latent: `[16, h, w]`, with an axis for a batch in front, and one for time behind the channels, where it has them.

    Diffusion models work on normalized latents, `(raw - mean) / std` per channel, and the VAE on raw ones. ComfyUI's nodes pass
    raw ones, pipelines of diffusers return normalized ones. `space` says which this is; without it, a file or an array is
    settled when a model takes it, by the kind of file and by its statistics, and a doubtful decision is logged.
    """

    __slots__ = ("_inner",)

    def __init__(
        self,
        values: Any,
        *,
        space: Space | None = None,
        axes: str | None = None,
        size: tuple[int, int] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes an array or a tensor.

        `axes` names the order of its axes where the shape leaves that open, such as "CTHW" or "BCHW". `size` is the height and
        width in pixels, at base resolution, of a latent that a pipeline of diffusers has packed, `[B, tokens, 64]`. `metadata`
        goes into the files that are made of it, such as ComfyUI's "prompt" and "workflow".
        """
        inner = _vae2x.Latent.from_array(latent_values(values), space, None if size is None else list(size), axes)
        self._inner = inner.with_text(texts(metadata or {}))

    @classmethod
    def _of(cls, inner: _vae2x.Latent) -> Latent:
        latent = cls.__new__(cls)
        latent._inner = inner
        return latent

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        space: Space | None = None,
        key: str | None = None,
        axes: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> Latent:
        """Opens ComfyUI's `.latent`, safetensors, torch, npy or npz. `key` names the tensor where the file holds several."""
        return cls._of(_vae2x.Latent.open(os.fspath(path), space, key, None if size is None else list(size), axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `raw()` and `normalized()`. Axes of one in front of a file's latent are left out."""
        return tuple(self._inner.shape)

    @property
    def metadata(self) -> dict[str, str]:
        """Texts such as ComfyUI's "prompt" and "workflow"."""
        return dict(self._inner.text)

    def raw(self) -> NDArray[np.float32]:
        """The raw latent, as ComfyUI has it."""
        return self._inner.values("raw")

    def normalized(self) -> NDArray[np.float32]:
        """The normalized latent, as pipelines of diffusers have it: with mean and std of the model that encoded it, else Wan2.1's."""
        return self._inner.values("normalized")

    def save(self, path: str | os.PathLike[str], *, space: Space | None = None) -> Space:
        """Writes `.latent` (ComfyUI, always raw), `.safetensors` or `.npy` (normalized unless `space` says otherwise).

        Returns the space that the file has.
        """
        return self._inner.save(os.fspath(path), space)

    def __repr__(self) -> str:
        return f"<vae2x.Latent {list(self.shape)}>"
