"""Decoding: the bytes of the program, shapes, types, frames one by one, files."""

import json
import shutil

import numpy as np
import pytest
from conftest import latent_values, photo, program

import vae2x

CLIP = latent_values(16, 3, 6, 5)


@pytest.fixture()
def clip(tmp_path):
    path = tmp_path / "clip.npy"
    np.save(path, CLIP)
    return path


def frames_of(path):
    """The frames of a y4m file of 4:4:4 as bytes."""
    return path.read_bytes()


@pytest.mark.parametrize(
    ("latent", "pixels"),
    [
        ((16, 4, 5), (64, 80, 3)),
        ((2, 16, 4, 5), (2, 64, 80, 3)),
        ((16, 3, 4, 5), (9, 64, 80, 3)),
        ((16, 1, 4, 5), (1, 64, 80, 3)),
        ((2, 16, 2, 4, 5), (2, 5, 64, 80, 3)),
        ((1, 16, 1, 4, 5), (1, 1, 64, 80, 3)),
    ],
)
def test_pixels_have_the_axes_of_the_latent(vae, latent, pixels):
    values = latent_values(*latent)
    decoded = vae.decode(values, space="raw")
    assert decoded.shape == pixels and decoded.dtype == np.float32
    assert decoded.min() >= 0 and decoded.max() <= 1 and decoded.std() > 0
    assert vae2x.Latent(values, space="raw").shape == latent


def test_types_of_pixels_agree(vae):
    values = latent_values(16, 4, 5)
    exact = vae.decode(values, space="raw")
    for dtype, most in [("uint8", 255), (np.uint8, 255), ("uint16", 65535)]:
        decoded = vae.decode(values, space="raw", dtype=dtype)
        assert decoded.dtype == np.dtype(dtype)
        assert np.abs(decoded - exact * most).max() <= 0.5 + 1e-2
    with pytest.raises(vae2x.BadRequest, match="uint8"):
        vae.decode(values, dtype="int32")


def test_pixels_are_those_of_the_program(vae, tmp_path):
    values = latent_values(16, 9, 7)
    np.save(tmp_path / "a.npy", values)
    options = ["--vae", "demo:2x", "--latent-space", "raw"]
    program("decode", tmp_path / "a.npy", *options, "-o", tmp_path / "out.npy")
    theirs = np.load(tmp_path / "out.npy")[0, :, 0].transpose(1, 2, 0)
    ours = vae.decode(values, space="raw")
    assert np.array_equal(ours, np.clip((theirs + 1) * np.float32(0.5), 0, 1))


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg", "a.exr", "a.npy", "a.safetensors"])
def test_image_files_are_those_of_the_program(vae, tmp_path, name):
    np.save(tmp_path / "image.npy", latent_values(16, 6, 5))
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir(), ours.mkdir()
    program("decode", tmp_path / "image.npy", "--vae", "demo:2x", "-o", theirs / name)
    written = vae.decode_to_file(vae2x.Latent.open(tmp_path / "image.npy"), ours / name)
    assert written == [ours / name]
    assert (theirs / name).read_bytes() == (ours / name).read_bytes()


@pytest.mark.parametrize("name", ["clip.y4m", "clip.apng", "clip.webp", "clip.npy", "folder/"])
def test_clip_files_are_those_of_the_program(vae, clip, tmp_path, name):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir(), ours.mkdir()
    program("decode", clip, "--vae", "demo:2x", "--scale", "1", "-o", f"{theirs}/{name}")
    vae.decode_to_file(vae2x.Latent.open(clip), f"{ours}/{name}", scale=1)
    files = sorted(path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file())
    assert files and files == sorted(path.relative_to(ours) for path in ours.rglob("*") if path.is_file())
    for file in files:
        assert (theirs / file).read_bytes() == (ours / file).read_bytes(), file


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs FFmpeg")
def test_videos_are_those_of_the_program(vae, clip, tmp_path):
    import wave

    with wave.open(str(tmp_path / "tone.wav"), "wb") as tone:
        tone.setparams((1, 2, 8000, 0, "NONE", ""))
        tone.writeframes((4000 * np.sin(np.arange(8000) / 5)).astype(np.int16).tobytes())
    sound = ["--audio", tmp_path / "tone.wav", "--fps", "24", "--crf", "12"]
    program("decode", clip, "--vae", "demo:2x", *sound, "-o", tmp_path / "theirs.mp4")
    latent = vae2x.Latent.open(clip)
    vae.decode_to_file(latent, tmp_path / "ours.mp4", audio=tmp_path / "tone.wav", fps=24, crf=12)
    assert (tmp_path / "theirs.mp4").read_bytes() == (tmp_path / "ours.mp4").read_bytes()


def test_finishing_is_that_of_the_program(vae, base, clip, tmp_path):
    from_program = ["--match-color", "base:demo:base", "--scale", "1", "--sharpen", "0.8", "--linear-light"]
    program("decode", clip, "--vae", "demo:2x", *from_program, "-o", tmp_path / "theirs.y4m")
    options = {"match_color": base, "scale": 1, "sharpen": 0.8, "linear_light": True}
    vae.decode_to_file(vae2x.Latent.open(clip), tmp_path / "ours.y4m", **options)
    assert frames_of(tmp_path / "theirs.y4m") == frames_of(tmp_path / "ours.y4m")
    array = vae.decode(vae2x.Latent.open(clip), **options)
    assert array.shape == (9, 48, 40, 3)
    reference = vae.decode(CLIP, space="raw", match_color=photo(48, 40), match_color_by="stats")
    assert reference.shape == (9, 96, 80, 3)
    for bad in [{"scale": 4}, {"sharpen": 1.0, "blur": 1.0}, {"blur": 1e9}, {"match_color_by": "x"}]:
        with pytest.raises(vae2x.BadRequest):
            vae.decode(CLIP, **bad)


def test_frames_come_one_by_one(vae):
    whole = vae.decode(CLIP, space="raw", dtype="uint8")
    frames = vae.decoder(CLIP, space="raw", dtype="uint8")
    assert len(frames) == 9 and frames.frame_shape == (96, 80, 3)
    assert np.array_equal(np.stack(list(frames)), whole)
    assert list(frames) == []
    with vae.decoder(CLIP, space="raw") as frames:
        next(frames)
    assert list(frames) == []


def test_the_space_is_settled_or_asked_for(vae):
    mean, std = (np.array(x, np.float32)[:, None, None] for x in (vae.latents_mean, vae.latents_std))
    encoded = vae.encode(photo(64, 80))
    raw = encoded.raw()
    normalized = (raw - mean) / std
    assert np.allclose(encoded.normalized(), normalized, atol=1e-5)
    expected = vae.decode(raw, space="raw")
    assert np.abs(vae.decode(normalized, space="normalized") - expected).max() < 1e-4
    assert np.abs(vae.decode(raw, space="normalized") - expected).max() > 1e-2
    latent = vae2x.Latent(raw, space="raw")
    assert np.array_equal(latent.raw(), raw)
    with pytest.raises(vae2x.BadRequest, match="space"):
        vae.decode(latent, space="raw")
    with pytest.raises(vae2x.BadRequest, match="raw"):
        vae2x.Latent(raw, space="cooked")


def test_latents_are_saved_and_opened(vae, tmp_path):
    values = vae.encode(photo(48, 40)).raw()
    latent = vae2x.Latent(values, space="raw", metadata={"prompt": {"1": {"class_type": "x"}}})
    assert latent.save(tmp_path / "a.latent") == "raw"
    assert latent.save(tmp_path / "a.safetensors") == "normalized"
    assert latent.save(tmp_path / "b.safetensors", space="raw") == "raw"
    for name in ["a.latent", "a.safetensors", "b.safetensors"]:
        again = vae2x.Latent.open(tmp_path / name)
        assert again.shape == (16, 6, 5)
        assert np.allclose(again.raw(), values, atol=1e-5), name
        assert json.loads(again.metadata["prompt"]) == {"1": {"class_type": "x"}}
    vae.decode_to_file(again, tmp_path / "a.png")
    assert b"class_type" in (tmp_path / "a.png").read_bytes()
    vae.decode_to_file(again, tmp_path / "b.png", metadata={})
    assert b"class_type" not in (tmp_path / "b.png").read_bytes()


def test_open_axes_are_asked_for():
    packed = latent_values(1, 12, 64)
    assert vae2x.Latent(packed, size=(64, 48), space="normalized").shape == (1, 16, 8, 6)
    with pytest.raises(vae2x.Error, match="size="):
        vae2x.Latent(packed)
    assert vae2x.Latent(latent_values(3, 16, 4, 5), axes="TCHW", space="raw").shape == (16, 3, 4, 5)
    # Five axes are those of torch's models, whatever their values look like.
    assert vae2x.Latent(latent_values(1, 16, 16, 4, 5)).shape == (1, 16, 16, 4, 5)
