"""From ComfyUI's values to those of vae2x, and back."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vae2x_nodes import audio, formats, images, latents, metadata


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("shape", [(2, 16, 4, 6), (1, 16, 3, 4, 6)])
def test_latents_keep_their_shape(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    array = latents.to_array({"samples": values, "noise_mask": None, "batch_index": [0]})
    assert array.shape == shape
    # Axes of one in front may be left out.
    assert (latents.to_vae2x(array, "raw").raw().reshape(shape) == values).all()


def test_sixteen_images_are_no_clip(base: Any) -> None:
    latent = latents.to_vae2x(zeros(16, 16, 2, 2), "raw")
    assert base.vae.decode(latent).shape == (16, 16, 16, 3)


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (48, "this latent has 48 channels: it is Wan2.2-5B's"),
        (4, "this latent has 4 channels: it is Stable Diffusion's"),
        (64, "this latent has 64 channels: it is Qwen-Image 2.1's"),
        (7, "this latent has 7 channels: it is another model's"),
    ],
)
def test_a_latent_of_another_model_is_named(channels: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        latents.to_array({"samples": zeros(1, channels, 1, 4, 4)})


def test_what_is_no_latent_is_refused() -> None:
    with pytest.raises(ValueError, match="found shape"):
        latents.to_array({"samples": zeros(16, 4, 4)})
    with pytest.raises(ValueError, match="no samples"):
        latents.to_array({})


def test_of_nested_latents_the_one_that_fits_is_taken() -> None:
    parts = [zeros(1, 8, 20), zeros(1, 16, 2, 4, 4)]
    nested = SimpleNamespace(is_nested=True, unbind=lambda: parts)
    assert latents.to_array({"samples": nested}).shape == (1, 16, 2, 4, 4)


def test_torch_tensors_of_any_kind() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.ones(1, 16, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    assert latents.to_array({"samples": tensor}).dtype == np.float32
    back = latents.from_array(zeros(1, 16, 4, 4), like={"samples": tensor, "noise_mask": 1})
    assert back["noise_mask"] == 1
    assert back["samples"].shape == (1, 16, 4, 4)


def test_images_are_clamped_and_have_three_channels() -> None:
    array = images.to_array(np.array([[[[-1.0], [0.5], [2.0], [np.nan]]]]))
    assert array.shape == (1, 1, 4, 3)
    assert array[0, 0, :, 0].tolist() == [0.0, 0.5, 1.0, 0.0]
    with pytest.raises(ValueError, match="found shape"):
        images.to_array(zeros(1, 4, 4, 5))


def test_sound_becomes_a_file_that_is_deleted() -> None:
    waveform = np.stack([np.full(8, 0.5), np.full(8, -2.0), np.zeros(8)])[None]
    with audio.wav_file({"waveform": waveform, "sample_rate": 8000}, item=3) as path:
        assert path is not None
        with wave.open(path) as file:
            assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 8)
            samples = np.frombuffer(file.readframes(8), "<i2").reshape(8, 2)
    assert samples[:, 0].tolist() == [16384] * 8
    assert samples[:, 1].tolist() == [-32767] * 8
    assert not Path(path).exists()
    with audio.wav_file(None) as none:
        assert none is None


def test_sound_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="found shape"):
        audio.to_samples({"waveform": zeros(1, 8), "sample_rate": 8000})


def test_metadata_are_json_texts() -> None:
    found = metadata.texts({"1": {"class_type": "Größe"}}, {"workflow": {"nodes": []}, "other": "text"})
    assert json.loads(found["prompt"]) == {"1": {"class_type": "Größe"}}
    assert json.loads(found["workflow"]) == {"nodes": []}
    assert found["other"] == '"text"'
    assert metadata.texts({"1": {}}, None, keep=False) == {}


def test_the_page_shows_what_browsers_can_play() -> None:
    video = formats.shown(formats.FORMATS["mp4 h264"], ["a.mp4"], "clips", "a.mp4")
    assert video["images"] == [{"filename": "a.mp4", "subfolder": "clips", "type": "output"}]
    assert video["animated"] == (True,)
    frames = formats.shown(formats.FORMATS["png"], ["0.png", "1.png"], "", "")
    assert [item["filename"] for item in frames["images"]] == ["0.png"]
    assert "animated" not in frames
    assert "images" not in formats.shown(formats.FORMATS["exr"], ["0.exr"], "", "")
