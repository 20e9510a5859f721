"""Videos by PyAV, which ComfyUI brings, for machines without an FFmpeg program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import vae2x

from . import audio, latents

if TYPE_CHECKING:
    from .writing import Clip

# FFmpeg's numbers of BT.709 and of the limited range.
BT709 = 1
LIMITED = 1


@dataclass(frozen=True)
class Codec:
    """An encoder, with what the program vae2x asks of it as well."""

    encoder: str
    pixel_format: str
    crf: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    tag: str | None = None


CODECS = {
    "h264": Codec("libx264", "yuv420p", 19),
    "h265": Codec("libx265", "yuv420p10", 22, {"x265-params": "log-level=error"}, "hvc1"),
    "av1": Codec("libsvtav1", "yuv420p10", 30, {"preset": "8"}),
    "vp9": Codec("libvpx-vp9", "yuv420p", 24, {"row-mt": "1", "cpu-used": "4", "b": "0"}),
    "prores": Codec("prores_ks", "yuv422p10", None, {"profile": "3"}),
    "ffv1": Codec("ffv1", "yuv444p10", None, {"level": "3"}),
}

SOUND = {"mp4": "aac", "mov": "pcm_s16le", "mkv": "flac", "webm": "libopus"}
# Those that libopus takes.
OPUS_RATE = 48000


def write(clip: Clip, vae: vae2x.Vae, progress: Callable[[float], Any] | None = None, cancel: Any = None) -> Path:
    """Decodes frame by frame into a video; the file appears when it is complete."""
    part = clip.path.with_name(f".{clip.path.stem}.part{clip.path.suffix}")
    try:
        _write(part, clip, vae, progress, cancel)
        part.replace(clip.path)
        if progress is not None:
            progress(1.0)
    finally:
        part.unlink(missing_ok=True)
    return clip.path


def _write(part: Path, clip: Clip, vae: vae2x.Vae, progress: Callable[[float], Any] | None, cancel: Any) -> None:
    codec = CODECS[clip.format.codec]
    pixels = clip.pixel_format or codec.pixel_format
    deep = pixels[-2:] in ("10", "12", "16")
    latent = latents.to_vae2x(clip.array, clip.space)
    options = {"movflags": "use_metadata_tags+faststart"} if clip.format.extension in ("mp4", "mov") else {}
    with (
        av.open(part, "w", options=options) as container,
        vae.decoder(
            latent, dtype="uint16" if deep else "uint8", progress=progress, cancel=cancel, **clip.finish.options()
        ) as frames,
    ):
        for key, text in clip.metadata.items():
            container.metadata[key] = text
        height, width, _ = frames.frame_shape
        video = _video_stream(container, codec, clip, (width, height), f"{pixels}le" if deep else pixels)
        sound = None if clip.audio is None else _Sound(container, clip)
        for values in frames:
            for packet in video.encode(_frame(values, deep, video.pix_fmt)):
                container.mux(packet)
        for packet in video.encode(None):
            container.mux(packet)
        if sound is not None:
            sound.write(Fraction(len(frames)) / _rate(clip.fps))


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)


def _video_stream(container: Any, codec: Codec, clip: Clip, size: tuple[int, int], pixels: str) -> Any:
    options = dict(codec.options)
    if codec.crf is not None:
        options["crf"] = str(codec.crf if clip.crf is None else clip.crf)
    stream = container.add_stream(codec.encoder, rate=_rate(clip.fps), options=options)
    stream.width, stream.height = size
    stream.pix_fmt = pixels
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED
    if codec.tag:
        context.codec_tag = codec.tag
    return stream


def _frame(values: np.ndarray, deep: bool, pixels: str) -> av.VideoFrame:
    rgb = np.ascontiguousarray(values[..., :3])
    if deep:
        # FFmpeg's scaler takes 255 * 256 for white.
        rgb -= rgb >> 8
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb48le" if deep else "rgb24")
    return frame.reformat(
        format=pixels,
        dst_colorspace="ITU709",
        src_color_range="JPEG",
        dst_color_range="MPEG",
        interpolation="BICUBIC",
    )


class _Sound:
    """The stream of the clip's sound."""

    def __init__(self, container: Any, clip: Clip) -> None:
        self._container = container
        self._samples, self._rate = audio.to_samples(clip.audio, clip.item)
        encoder = SOUND[clip.format.extension]
        rate = OPUS_RATE if encoder == "libopus" else self._rate
        layout = "mono" if self._samples.shape[1] == 1 else "stereo"
        self._layout = layout
        self._stream = container.add_stream(encoder, rate=rate, layout=layout)

    def write(self, seconds: Fraction) -> None:
        """Writes what fits the video."""
        samples = self._samples[: int(seconds * self._rate)]
        if len(samples) == 0:
            return
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.reshape(1, -1)), format="s16", layout=self._layout
        )
        frame.sample_rate = self._rate
        frame.pts = 0
        for item in (frame, None):
            for packet in self._stream.encode(item):
                self._container.mux(packet)
