"""Models."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from . import _vae2x
from ._arrays import pixel_values
from ._errors import BadRequest
from ._latent import Latent, Space, texts
from ._vae2x import FrameIterator

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[float], Any]


class Event(Protocol):
    """What `threading.Event` is."""

    def is_set(self) -> bool:
        """Whether the work is to stop."""


class Vae:
    """A model on a device. `Vae.open` makes one.

    Whatever computes here lets other threads of Python run meanwhile, and takes

    - `progress`, called a few times a second with the completed fraction; if it returns False, the work stops with `Cancelled`,
      and an exception that it raises stops it too;
    - `cancel`, such as a `threading.Event`: once it is set, the work stops with `Cancelled`.

    Ctrl-C stops it as well. All of these take effect within a second, and the model can be used again. Several threads can use one
    model at the same time; each process needs to open its own.
    """

    __slots__ = ("_inner",)

    _inner: _vae2x.Vae

    def __init__(self) -> None:
        """Refuses to be called: `Vae.open` makes models."""
        raise TypeError("use vae2x.Vae.open")

    @classmethod
    def open(
        cls,
        weights: str | os.PathLike[str],
        *,
        device: str = "auto",
        dtype: Any = "f32",
        encoder_dtype: Any = "f32",
        threads: int | None = None,
        memory: int | None = None,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> Vae:
        """Opens a file, a folder of diffusers, "owner/name" of the Hugging Face hub, or a demo model, "demo:2x" or "demo:base".

        A model of the hub is fetched into the shared cache first, which `progress` follows. Weights are read when they are first
        needed. `device` is "auto", "cpu", or a GPU that this build has, such as "vulkan" or "cuda:1"; `dtype` is "f32", "bf16" or
        "f16", the precision of the decoder's weights; `threads` are those of the CPU, all cores if not given; `memory` is how many
        bytes may be held.
        """
        for name, number in (("threads", threads), ("memory", memory)):
            if number is not None and number < 1:
                raise BadRequest(f"{name}={number}: expected at least 1")
        options: _vae2x.OpenArgs = {
            "device": device,
            "dtype": str(dtype).removeprefix("torch."),
            "encoder_dtype": str(encoder_dtype).removeprefix("torch."),
            "threads": threads,
            "memory": memory,
        }
        vae = cls.__new__(cls)
        vae._inner = _vae2x.Vae.open(os.fspath(weights), options, progress, cancel)
        return vae

    @property
    def name(self) -> str:
        """The path or the name of the weights."""
        return self._inner.name

    @property
    def engine(self) -> str:
        """The engine that computes, such as "cpu-avx512"."""
        return self._inner.engine

    @property
    def device(self) -> str:
        """The device, never "auto"."""
        return self._inner.device

    @property
    def threads(self) -> int:
        """The number of threads that compute."""
        return self._inner.threads

    @property
    def scale(self) -> int:
        """The decoder's output in multiples of the base resolution: 1, 2 or 4."""
        return self._inner.scale

    @property
    def has_time(self) -> bool:
        """Whether the model takes clips."""
        return self._inner.has_time

    @property
    def has_opacity(self) -> bool:
        """Whether the model is Qwen-Image-Layered's: 4 channels, and latent frames are layers."""
        return self._inner.has_opacity

    @property
    def z_dim(self) -> int:
        """Channels of latents."""
        return self._inner.z_dim

    @property
    def latents_mean(self) -> list[float]:
        """The mean of each channel of raw latents."""
        return self._inner.latents_mean

    @property
    def latents_std(self) -> list[float]:
        """The standard deviation of each channel of raw latents."""
        return self._inner.latents_std

    def decode_memory(self, latent: Any) -> int | None:
        """Bytes that decoding a latent needs at most, besides the result; None on devices that cut their work to what they hold."""
        _, _, frames, height, width = _latent(latent, None)._inner.full_shape
        return self._inner.decode_memory(frames, height, width)

    def decode(
        self,
        latent: Any,
        *,
        space: Space | None = None,
        dtype: Any = "float32",
        scale: int | None = None,
        linear_light: bool = False,
        sharpen: float | None = None,
        blur: float | None = None,
        match_color: Any = None,
        match_color_by: Literal["low", "stats"] = "low",
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> NDArray[Any]:
        """Decodes a latent to pixels, `[H, W, 3]` with the latent's axes of batch and time in front.

        `latent` is a `Latent`, an array or a tensor; `space` says whether an array is "raw" or "normalized", and is found out if
        not given. `dtype` is "float32" in [0, 1], "uint8" or "uint16". `scale` is the size in multiples of the base resolution,
        the decoder's if not given. `sharpen` and `blur` are sigmas in pixels. `match_color` is an image of the same view or a base
        decoder whose colours the result takes.
        """
        finish = _finish(scale, linear_light, sharpen, blur, match_color, match_color_by)
        inner = _latent(latent, space)._inner
        return self._inner.decode(inner, finish, _dtype(dtype), progress, cancel)

    def decoder(
        self,
        latent: Any,
        *,
        space: Space | None = None,
        dtype: Any = "float32",
        scale: int | None = None,
        linear_light: bool = False,
        sharpen: float | None = None,
        blur: float | None = None,
        match_color: Any = None,
        match_color_by: Literal["low", "stats"] = "low",
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> FrameIterator:
        """An iterator over the frames `[H, W, 3]` of a latent, all items one after another. It holds the frames of one latent frame.

        Options are those of `decode`. `len()` is the number of frames, `frame_shape` their height, width and channels, and
        `close()` ends it early, as the end of a `with` block does.
        """
        finish = _finish(scale, linear_light, sharpen, blur, match_color, match_color_by)
        inner = _latent(latent, space)._inner
        return self._inner.decoder(inner, finish, _dtype(dtype), progress, cancel)

    def decode_to_file(
        self,
        latent: Any,
        path: str | os.PathLike[str],
        *,
        space: Space | None = None,
        fps: float | str | None = None,
        codec: str | None = None,
        crf: int | None = None,
        pixel_format: str | None = None,
        audio: str | os.PathLike[str] | None = None,
        ffmpeg: str | os.PathLike[str] | None = None,
        bit_depth: Literal[8, 16] = 8,
        format: Literal["png", "jpg", "webp", "exr"] = "png",
        metadata: Mapping[str, Any] | None = None,
        scale: int | None = None,
        linear_light: bool = False,
        sharpen: float | None = None,
        blur: float | None = None,
        match_color: Any = None,
        match_color_by: Literal["low", "stats"] = "low",
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> list[Path]:
        """Decodes a latent into a file or a folder, in memory that does not grow with the clip; returns the files.

        The path decides: `.mp4`, `.mov`, `.mkv` and `.webm` by FFmpeg (`.mp4` also without it, as plain H.264), `.y4m`, `.apng`,
        `.gif` and `.webp` without it, `.png`, `.jpg`, `.webp` and `.exr` for one image, `.npy` and `.safetensors` for an array,
        and a folder for frames of `format`.
        What is written is what the program `vae2x decode` writes. `fps` is 16 if not given, `audio` a file whose sound goes with
        it, and `metadata` texts such as "prompt" and "workflow", by default those of the latent. Options of finishing are those of
        `decode`.
        """
        file: _vae2x.FileArgs = {
            "fps": None if fps is None else str(fps),
            "codec": codec,
            "pixel_format": pixel_format,
            "crf": crf,
            "audio": None if audio is None else os.fspath(audio),
            "ffmpeg": _ffmpeg(path) if ffmpeg is None else os.fspath(ffmpeg),
            "bit_depth": bit_depth,
            "format": format,
        }
        finish = _finish(scale, linear_light, sharpen, blur, match_color, match_color_by)
        text = None if metadata is None else texts(metadata)
        inner = _latent(latent, space)._inner
        return self._inner.decode_to_file(inner, os.fspath(path), finish, file, text, progress, cancel)

    def encode(
        self,
        images: Any,
        *,
        clip: bool = False,
        edges: Literal["crop", "pad"] = "crop",
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> Latent:
        """Encodes an image `[H, W, 3]`, a batch of images `[B, H, W, 3]`, with `clip` the frames `[T, H, W, 3]` of a clip, or a
        batch of clips `[B, T, H, W, 3]`.

        Pixels are floats in [0, 1], uint8 or uint16. Sides that are not multiples of 8 are cropped, or padded by their edge; frames
        beyond 1 + 4 n are left out.
        """
        pixels = pixel_values(images)
        axes = {3: (False, False), 4: (not clip, clip), 5: (True, True)}.get(pixels.ndim)
        if axes is None:
            raise BadRequest(f"images: expected 3, 4 or 5 axes, found shape {list(pixels.shape)}")
        frames = pixels.shape[-4] if axes[1] else 1
        flat = pixels.reshape(-1, *pixels.shape[-3:])
        return Latent._of(self._inner.encode(flat, axes, frames, _pads(edges), progress, cancel))

    def upscale(
        self,
        images: Any,
        *,
        clip: bool = False,
        match_color: bool = False,
        sharpen: float | None = None,
        blur: float | None = None,
        dtype: Any = None,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> NDArray[Any]:
        """Images at twice their size, by encoding and decoding them with a 2x decoder: `[H, W, 3]`, a batch `[B, H, W, 3]`, or with
        `clip` the frames `[T, H, W, 3]` of a clip. A fourth channel is opacity.

        `match_color` gives the result the input's colours. `dtype` is that of the input if not given.
        """
        pixels = pixel_values(images)
        if pixels.ndim > 4:
            raise BadRequest(f"images: expected 3 or 4 axes, found shape {list(pixels.shape)}")
        kind = str(pixels.dtype) if dtype is None else _dtype(dtype)
        flat = pixels.reshape(-1, *pixels.shape[-3:])
        large = self._inner.upscale(flat, clip, match_color, sharpen, blur, kind, progress, cancel)
        return large if pixels.ndim == 4 else large[0]

    def refine(
        self,
        latent: Any,
        *,
        space: Space | None = None,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> Latent:
        """The highres fix: a latent of twice the size for a second pass of the diffusion model, decoded and encoded again."""
        return Latent._of(self._inner.refine(_latent(latent, space)._inner, progress, cancel))

    def __repr__(self) -> str:
        return f"<vae2x.Vae {self.name} {self.scale}x on {self.engine}>"


def find_ffmpeg() -> Path | None:
    """The FFmpeg program that writes videos: that of `VAE2X_FFMPEG`, the one on the search path, or that of the package
    imageio-ffmpeg. Without it, `decode_to_file` writes `.mp4` alone of the videos, without sound and less well compressed.
    """
    return _vae2x.find_ffmpeg() or _imageio_ffmpeg()


def _ffmpeg(path: str | os.PathLike[str]) -> str | None:
    """The program of the package imageio-ffmpeg, for a video where no other is found."""
    is_video = os.fspath(path).lower().endswith((".mp4", ".mov", ".mkv", ".webm"))
    if not is_video or "VAE2X_FFMPEG" in os.environ or shutil.which("ffmpeg"):
        return None
    found = _imageio_ffmpeg()
    return None if found is None else str(found)


def _imageio_ffmpeg() -> Path | None:
    package = importlib.util.find_spec("imageio_ffmpeg")
    folders = package.submodule_search_locations if package else None
    found = (file for folder in folders or [] for file in Path(folder, "binaries").glob("ffmpeg-*"))
    return next(found, None)


def _latent(latent: Any, space: Space | None) -> Latent:
    if not isinstance(latent, Latent):
        return Latent(latent, space=space)
    if space is not None:
        raise BadRequest("space: a Latent has its own; give it to Latent(...) or Latent.open(...)")
    return latent


def _finish(
    scale: int | None,
    linear_light: bool,
    sharpen: float | None,
    blur: float | None,
    match_color: Any,
    match_color_by: str,
) -> _vae2x.FinishArgs:
    if match_color is not None:
        if isinstance(match_color, Vae):
            match_color = match_color._inner
        else:
            match_color = pixel_values(match_color)
            match_color = match_color.reshape(-1, *match_color.shape[-3:])
    return {
        "scale": scale,
        "linear_light": linear_light,
        "sharpen": sharpen,
        "blur": blur,
        "match_color": match_color,
        "match_color_by": match_color_by,
    }


def _dtype(dtype: Any) -> str:
    import numpy as np

    try:
        return np.dtype(str(dtype).removeprefix("torch.") if isinstance(dtype, str) or "torch" in str(dtype) else dtype).name
    except TypeError:
        raise BadRequest(f"dtype={dtype}: pixels are float32, uint8 or uint16") from None


def _pads(edges: str) -> bool:
    if edges not in ("crop", "pad"):
        raise BadRequest(f"edges={edges}: expected crop or pad")
    return edges == "pad"
