"""ComfyUI's AUDIO: `{"waveform": [B, channels, samples], "sample_rate": Hz}`, floats in [-1, 1]."""

from __future__ import annotations

import os
import tempfile
import wave
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

# Of 16-bit samples.
LOUDEST = 32767


def to_samples(audio: Mapping[str, Any], item: int = 0) -> tuple[np.ndarray, int]:
    """One item's 16-bit samples, `[samples, channels]`, and their rate. An item beyond the last is the last."""
    waveform = audio["waveform"]
    if hasattr(waveform, "detach"):
        waveform = waveform.detach().cpu().float().numpy()
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 3 or waveform.shape[0] == 0 or waveform.shape[1] == 0:
        raise ValueError(f"expected sound [B, channels, samples], found shape {list(waveform.shape)}")
    # A third channel and those after it have no place in the codecs of these files.
    sound = waveform[min(item, waveform.shape[0] - 1), :2]
    samples = np.clip(np.nan_to_num(sound), -1.0, 1.0) * LOUDEST
    return np.ascontiguousarray(np.rint(samples).astype("<i2").T), int(audio["sample_rate"])


@contextmanager
def wav_file(audio: Mapping[str, Any] | None, item: int = 0) -> Iterator[str | None]:
    """A WAV file of the sound, which is deleted behind the block."""
    if audio is None:
        yield None
        return
    samples, rate = to_samples(audio, item)
    handle, path = tempfile.mkstemp(prefix="vae2x_", suffix=".wav")
    try:
        with os.fdopen(handle, "wb") as file, wave.open(file, "wb") as writer:
            writer.setnchannels(samples.shape[1])
            writer.setsampwidth(2)
            writer.setframerate(rate)
            writer.writeframes(samples.tobytes())
        yield path
    finally:
        os.unlink(path)
