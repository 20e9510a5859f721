"""A latent into a file, or a folder of images, without an IMAGE tensor."""

from __future__ import annotations

import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import vae2x

from . import latents
from .audio import wav_file
from .finishing import Finish
from .formats import Format

log = logging.getLogger("vae2x")


@dataclass(frozen=True)
class Clip:
    """One clip or image, and how it is to be written."""

    # `[1, 16, h, w]` or `[1, 16, T, h, w]`
    array: np.ndarray
    path: Path
    format: Format
    space: str = "raw"
    fps: float = 16.0
    crf: int | None = None
    pixel_format: str | None = None
    finish: Finish = field(default_factory=Finish)
    metadata: Mapping[str, str] = field(default_factory=dict)
    audio: Mapping[str, Any] | None = None
    # Its place in the batch, which is that of its sound as well.
    item: int = 0

    def write(self, vae: vae2x.Vae, progress: Callable[[float], Any] | None = None, cancel: Any = None) -> list[Path]:
        """Decodes and writes; returns the files. Nothing is left of what was not finished."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        latent = latents.to_vae2x(self.array, self.space)
        watch = {"progress": progress, "cancel": cancel}
        if not self.format.is_video:
            return self._write_images(vae, latent, watch)
        if vae2x.find_ffmpeg() is None:
            from . import pyav

            log.info("writing %s with PyAV, as no FFmpeg is found", self.path.name)
            return [pyav.write(self, vae, **watch)]
        with wav_file(self.audio, self.item) as sound:
            return vae.decode_to_file(
                latent,
                self.path,
                fps=self.fps,
                codec=self.format.codec,
                crf=self.crf,
                pixel_format=self.pixel_format,
                audio=sound,
                metadata=self.metadata,
                **self.finish.options(),
                **watch,
            )

    def _write_images(self, vae: vae2x.Vae, latent: vae2x.Latent, watch: dict[str, Any]) -> list[Path]:
        options = {
            "bit_depth": self.format.bit_depth,
            "format": self.format.extension,
            "metadata": self.metadata,
            **self.finish.options(),
            **watch,
        }
        if self.path.suffix == f".{self.format.extension}":
            return vae.decode_to_file(latent, self.path, **options)
        # A name without an ending, whatever dots the folder's name has.
        part = self.path.with_name(f".vae2x_{uuid.uuid4().hex}")
        try:
            files = vae.decode_to_file(latent, part, **options)
            part.rename(self.path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return [self.path / file.name for file in files]


class Paths:
    """Paths of files that are to be written, so that no two have the same."""

    def __init__(self) -> None:
        self._taken: set[Path] = set()
        self._lock = threading.Lock()

    def take(self, folder: Path, name: str, number: int, suffix: str) -> Path:
        """The first path, from `number` on, that is neither there nor taken."""
        with self._lock:
            while True:
                path = folder / f"{name}_{number:05}_{suffix}"
                if path not in self._taken and not path.exists():
                    self._taken.add(path)
                    return path
                number += 1

    def give_back(self, path: Path) -> None:
        """Called when the file was written, or will not be."""
        with self._lock:
            self._taken.discard(path)
