"""The part of the package that is written in Rust. Use the classes of `vae2x`, which call it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

__version__: str

Progress = Callable[[float], Any] | None

class OpenArgs(TypedDict):
    device: str
    dtype: str
    encoder_dtype: str
    threads: int | None
    memory: int | None

class FinishArgs(TypedDict):
    scale: int | None
    linear_light: bool
    sharpen: float | None
    blur: float | None
    match_color: Vae | NDArray[Any] | None
    match_color_by: str

class FileArgs(TypedDict):
    fps: str | None
    codec: str | None
    pixel_format: str | None
    crf: int | None
    audio: str | None
    ffmpeg: str | None
    bit_depth: int
    format: str

def find_ffmpeg() -> Path | None: ...
def main(arguments: Sequence[str]) -> int: ...

class Latent:
    @staticmethod
    def open(
        path: str, space: str | None, key: str | None, size: list[int] | None, axes: str | None, /
    ) -> Latent: ...
    @staticmethod
    def from_array(
        array: NDArray[np.float32], space: str | None, size: list[int] | None, axes: str | None, /
    ) -> Latent: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def full_shape(self) -> list[int]: ...
    @property
    def text(self) -> list[tuple[str, str]]: ...
    def with_text(self, text: list[tuple[str, str]], /) -> Latent: ...
    def values(self, space: str, /) -> NDArray[np.float32]: ...
    def save(self, path: str, space: str | None, /) -> Literal["raw", "normalized"]: ...

class FrameIterator:
    """An iterator over the frames of a latent; it holds those of one latent frame."""

    def __iter__(self) -> FrameIterator: ...
    def __next__(self) -> NDArray[Any]: ...
    def __len__(self) -> int: ...
    @property
    def frame_shape(self) -> tuple[int, int, int]: ...
    def close(self) -> None: ...
    def __enter__(self) -> FrameIterator: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

class Vae:
    @staticmethod
    def open(name: str, options: OpenArgs, progress: Progress, cancel: Any, /) -> Vae: ...
    @property
    def name(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def scale(self) -> int: ...
    @property
    def has_time(self) -> bool: ...
    @property
    def has_opacity(self) -> bool: ...
    @property
    def z_dim(self) -> int: ...
    @property
    def latents_mean(self) -> list[float]: ...
    @property
    def latents_std(self) -> list[float]: ...
    def decode_memory(self, frames: int, height: int, width: int, /) -> int | None: ...
    def decode(
        self, latent: Latent, finish: FinishArgs, dtype: str, progress: Progress, cancel: Any, /
    ) -> NDArray[Any]: ...
    def decoder(
        self, latent: Latent, finish: FinishArgs, dtype: str, progress: Progress, cancel: Any, /
    ) -> FrameIterator: ...
    def decode_to_file(
        self,
        latent: Latent,
        path: str,
        finish: FinishArgs,
        file: FileArgs,
        text: list[tuple[str, str]] | None,
        progress: Progress,
        cancel: Any,
        /,
    ) -> list[Path]: ...
    def encode(
        self,
        images: NDArray[Any],
        axes: tuple[bool, bool],
        frames: int,
        pad: bool,
        progress: Progress,
        cancel: Any,
        /,
    ) -> Latent: ...
    def refine(self, latent: Latent, progress: Progress, cancel: Any, /) -> Latent: ...
    def upscale(
        self,
        images: NDArray[Any],
        clip: bool,
        match_color: bool,
        sharpen: float | None,
        blur: float | None,
        dtype: str,
        progress: Progress,
        cancel: Any,
        /,
    ) -> NDArray[Any]: ...
