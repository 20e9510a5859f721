"""Latents into files, with FFmpeg and with PyAV."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import vae2x
from vae2x_nodes.finishing import Finish
from vae2x_nodes.formats import FORMATS
from vae2x_nodes.models import LoadedVae
from vae2x_nodes.writing import Clip, Paths

# Of 256 levels: of codecs that lose something, with half the resolution of colours; and of 10 bits without loss.
LOSSY_MEAN = 4.0
LOSSLESS_MEAN = 0.6


def frames(path: Path) -> np.ndarray:
    av = pytest.importorskip("av")
    with av.open(path) as video:
        found = video.decode(video=0)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in found])


def test_images_are_what_decode_gives(large: LoadedVae, image: np.ndarray, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path = tmp_path / "deep" / "a.png"
    written = Clip(image[:1], path, FORMATS["png"], metadata={"prompt": '{"1": 2}'}).write(large.vae)
    assert written == [path]
    stored = pillow.open(path)
    assert stored.text["prompt"] == '{"1": 2}'
    expected = large.vae.decode(image[:1], space="raw", dtype="uint8")
    assert (np.asarray(stored) == expected[0]).all()


def test_a_clip_becomes_a_folder(large: LoadedVae, clip: np.ndarray, tmp_path: Path) -> None:
    files = Clip(clip, tmp_path / "v1.5_00001_", FORMATS["exr"], finish=Finish(scale=1)).write(large.vae)
    assert [path.name for path in files] == [f"frame_{i:05}.exr" for i in range(9)]


@pytest.mark.parametrize("kind", ["mp4 h264", "mp4 h265", "mp4 av1", "webm vp9", "webm av1", "mov prores", "mkv ffv1"])
def test_pyav_writes_all_kinds(large: LoadedVae, clip: np.ndarray, tmp_path: Path, no_ffmpeg: None, kind: str) -> None:
    av = pytest.importorskip("av")
    sound = {"waveform": np.sin(np.arange(44100 * 2) / 20)[None, None], "sample_rate": 44100}
    path = tmp_path / f"a.{FORMATS[kind].extension}"
    reports: list[float] = []
    order = Clip(clip, path, FORMATS[kind], fps=12.5, metadata={"prompt": "{}", "workflow": '{"a": "ß"}'}, audio=sound)
    assert order.write(large.vae, reports.append) == [path]
    assert list(tmp_path.iterdir()) == [path]
    assert reports[-1] == 1.0
    with av.open(path) as video:
        stream = video.streams.video[0]
        assert stream.average_rate * 2 == 25
        assert (stream.width, stream.height) == (192, 128)
        assert video.streams.audio
        texts = {key.lower(): text for key, text in video.metadata.items()}
    assert texts["prompt"] == "{}"
    assert texts["workflow"] == '{"a": "ß"}'
    found = frames(path)
    expected = large.vae.decode(clip, space="raw", dtype="uint8")[0]
    assert found.shape == expected.shape
    assert abs(found.astype(int) - expected).mean() < LOSSY_MEAN


def test_ffmpeg_and_pyav_give_the_same_colours(large: LoadedVae, clip: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from vae2x_nodes import pyav

    expected = large.vae.decode(clip, space="raw", dtype="uint8")[0].astype(int)
    orders = [Clip(clip, tmp_path / name, FORMATS["mkv ffv1"]) for name in ("a.mkv", "b.mkv")]
    if vae2x.find_ffmpeg() is None:
        pytest.skip("FFmpeg is not installed")
    orders[0].write(large.vae)
    pyav.write(orders[1], large.vae)
    for order in orders:
        difference = frames(order.path).astype(int) - expected
        assert abs(difference).mean() < LOSSLESS_MEAN
        assert (abs(difference.mean(axis=(0, 1, 2))) < 0.1).all()


@pytest.mark.parametrize(("kind", "name"), [("mp4 h264", "a.mp4"), ("png", "frames")])
def test_nothing_is_left_of_a_cancelled_clip(
    large: LoadedVae, clip: np.ndarray, tmp_path: Path, no_ffmpeg: None, kind: str, name: str
) -> None:
    pytest.importorskip("av")
    cancel = threading.Event()
    # Long enough that it is not over before somebody looks at the event.
    order = Clip(np.tile(clip, (1, 1, 12, 1, 1)), tmp_path / name, FORMATS[kind])
    with pytest.raises(vae2x.Cancelled):
        order.write(large.vae, lambda fraction: cancel.set(), cancel)
    assert list(tmp_path.iterdir()) == []


def test_paths_are_taken_once(tmp_path: Path) -> None:
    paths = Paths()
    (tmp_path / "a_00002_.mp4").touch()
    names = [paths.take(tmp_path, "a", 1, ".mp4").name for _ in range(3)]
    assert names == ["a_00001_.mp4", "a_00003_.mp4", "a_00004_.mp4"]
    paths.give_back(tmp_path / "a_00003_.mp4")
    assert paths.take(tmp_path, "a", 1, ".mp4").name == "a_00003_.mp4"
