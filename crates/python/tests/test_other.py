"""Encoding, upscaling, the highres fix, and errors."""

import errno
import importlib.util
import json
import os
import pickle

import numpy as np
import pytest
from conftest import latent_values, photo, program

import vae2x


def png(path, image):
    """Writes an image without a library for images."""
    import struct
    import zlib

    height, width, _ = image.shape
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_encoding_is_that_of_the_program(vae, tmp_path):
    image = photo(50, 68)
    png(tmp_path / "a.png", image)
    for edges, option in [("crop", []), ("pad", ["--pad"])]:
        program("encode", tmp_path / "a.png", "--vae", "demo:2x", *option, "-o", tmp_path / "theirs.latent")
        latent = vae.encode(image, edges=edges)
        latent.save(tmp_path / "ours.latent")
        assert (tmp_path / "theirs.latent").read_bytes() == (tmp_path / "ours.latent").read_bytes()
    floats = vae.encode(image / 255, edges="pad")
    assert np.allclose(floats.raw(), latent.raw(), atol=1e-4)
    with pytest.raises(vae2x.BadRequest, match="edges"):
        vae.encode(image, edges="stretch")


def test_latents_have_the_axes_of_images(vae):
    images = np.stack([photo(16, 24, seed) for seed in range(6)])
    assert vae.encode(images[0]).shape == (16, 2, 3)
    assert vae.encode(images).shape == (6, 16, 2, 3)
    assert vae.encode(images, clip=True).shape == (16, 2, 2, 3)
    assert vae.encode(images[None]).shape == (1, 16, 2, 2, 3)
    assert np.array_equal(vae.encode(images[None]).raw()[0], vae.encode(images, clip=True).raw())
    assert np.array_equal(vae.encode(images).raw()[4], vae.encode(images[4]).raw())
    for bad in [np.zeros((4, 4)), np.zeros((16, 16, 2)), np.full((16, 16, 3), np.nan), np.zeros((16, 16, 3), bool)]:
        with pytest.raises(vae2x.BadRequest):
            vae.encode(bad)


def test_upscaling_is_that_of_the_program(vae, tmp_path):
    image = photo(50, 68)
    png(tmp_path / "a.png", image)
    program("upscale", tmp_path / "a.png", "--vae", "demo:2x", "--match-color", "-o", tmp_path / "theirs.png")
    large = vae.upscale(image, match_color=True)
    assert large.shape == (100, 136, 3) and large.dtype == np.uint8
    png(tmp_path / "ours.png", large)
    names = [f"{name}={tmp_path}/{name}.png" for name in ("ours", "theirs")]
    said = json.loads(program("metrics", *names, "--reference", "theirs", "--json").stdout)
    assert said["means"][0]["psnr"] == "inf"
    clip = np.stack([image] * 3)
    assert vae.upscale(clip, clip=True, dtype="float32").shape == (3, 100, 136, 3)
    assert np.array_equal(vae.upscale(clip)[1], vae.upscale(image))


def test_opacity_is_enlarged(vae):
    image = np.dstack([photo(32, 32), np.full((32, 32), 255, np.uint8)])
    image[8:24, 8:24, 3] = 0
    large = vae.upscale(image)
    assert large.shape == (64, 64, 4)
    assert large[32, 32, 3] == 0 and large[2, 2, 3] == 255


def test_the_highres_fix_is_that_of_the_program(vae, tmp_path):
    latent = vae2x.Latent(latent_values(16, 4, 5), space="raw")
    latent.save(tmp_path / "a.latent")
    program("hires", tmp_path / "a.latent", "--vae", "demo:2x", "-o", tmp_path / "theirs.latent")
    refined = vae.refine(latent)
    assert refined.shape == (16, 8, 10)
    refined.save(tmp_path / "ours.latent")
    assert (tmp_path / "theirs.latent").read_bytes() == (tmp_path / "ours.latent").read_bytes()


def test_facts_about_a_model(vae, base):
    assert (vae.scale, base.scale, vae.z_dim, vae.has_time, vae.has_opacity) == (2, 1, 16, True, False)
    assert vae.device == "cpu" and vae.engine.startswith("cpu-") and vae.threads >= 1
    assert "demo:2x" in repr(vae)
    assert len(vae.latents_mean) == len(vae.latents_std) == 16
    assert vae2x.Vae.open("demo:2x", threads=1).threads == 1
    assert vae.decode_memory(latent_values(16, 8, 8)) > 1e6


def test_errors_have_classes(vae, base, tmp_path):
    with pytest.raises(vae2x.FileError) as missing:
        vae2x.Latent.open(tmp_path / "missing.latent")
    assert missing.value.errno == errno.ENOENT and missing.value.filename.endswith("missing.latent")
    assert isinstance(missing.value, OSError) and isinstance(missing.value, vae2x.Error)
    (tmp_path / "text.safetensors").write_text("this is no tensor file")
    with pytest.raises(vae2x.BadFile, match="text.safetensors"):
        vae2x.Vae.open(tmp_path / "text.safetensors")
    with pytest.raises(vae2x.BadRequest, match="demo:3x"):
        vae2x.Vae.open("demo:3x")
    with pytest.raises(vae2x.MissingFeature, match="vulkan"):
        vae2x.Vae.open("demo:2x", device="vulkan")
    with pytest.raises(vae2x.BadRequest, match="gpu"):
        vae2x.Vae.open("demo:2x", device="gpu")
    with pytest.raises(vae2x.BadRequest, match="dtype=int8"):
        vae2x.Vae.open("demo:2x", dtype="int8")
    with pytest.raises(vae2x.BadRequest, match="threads=0"):
        vae2x.Vae.open("demo:2x", threads=0)
    with pytest.raises(TypeError, match="open"):
        vae2x.Vae()
    again = pickle.loads(pickle.dumps(missing.value))
    assert type(again) is vae2x.FileError and again.errno == errno.ENOENT
    with pytest.raises(vae2x.BadRequest, match="^latent: .*16 channels"):
        vae.decode(latent_values(15, 4, 5))
    with pytest.raises(vae2x.Error, match="48"):
        vae.decode(latent_values(48, 4, 5))
    with pytest.raises(vae2x.BadRequest, match="demo:base"):
        base.upscale(photo(16, 16))
    with pytest.raises(vae2x.BadRequest, match="fps"):
        vae.decode_to_file(latent_values(16, 4, 5), tmp_path / "a.png", fps=16)
    with pytest.raises(vae2x.OutOfMemory, match="MB"):
        vae2x.Vae.open("demo:2x", memory=1000).decode(latent_values(16, 4, 5))
    with pytest.raises(vae2x.BadRequest, match="^latent.*finite"):
        vae.decode(np.full((16, 4, 5), np.nan, np.float32))
    assert not [path for path in tmp_path.iterdir() if path.name != "text.safetensors"]


def test_notes_are_logged(vae, caplog):
    doubtful = vae2x.Latent(np.zeros((16, 4, 4), np.float32))
    vae.decode(doubtful)
    assert [record.name for record in caplog.records] == ["vae2x"]
    assert "space=" in caplog.text


def test_ffmpeg_is_looked_for(tmp_path, monkeypatch):
    for name in ("IMAGEIO_FFMPEG_EXE", "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VAE2X_FFMPEG", str(tmp_path / "missing"))
    assert vae2x.find_ffmpeg() is None
    monkeypatch.delenv("VAE2X_FFMPEG")
    program = tmp_path / ("ffmpeg.exe" if os.name == "nt" else "ffmpeg")
    program.write_text("#!/bin/sh\necho ffmpeg version 9.0\n")
    program.chmod(0o755)
    assert vae2x.find_ffmpeg() == program
