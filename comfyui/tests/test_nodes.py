"""The nodes, called as ComfyUI calls them."""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vae2x
from vae2x_nodes import background, host, models
from vae2x_nodes.classic import classic_class
from vae2x_nodes.models import LoadedVae, Spec
from vae2x_nodes.nodes import NODES, decode, decode_to_file, encode, highres, load, upscale
from vae2x_nodes.schema import Caller

FILE = {
    "filename_prefix": "clips/a",
    "format": "mp4 h264",
    "fps": 16.0,
    "in_background": False,
    "scale": "auto",
    "latent_space": "raw",
    "crf": -1,
    "pixel_format": "auto",
}


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.id)
def test_the_classic_form_has_all_that_comfyui_asks_for(node: Any, comfy: Path) -> None:
    made = classic_class(node)
    types = made.INPUT_TYPES()
    names = {**types["required"], **types["optional"]}
    assert list(names) == sorted(names, key=list(item.name for item in node.inputs).index)
    for kind, settings in names.values():
        assert settings["tooltip"].endswith(".")
        if isinstance(kind, list):
            assert settings.get("default", kind[0]) in kind
    assert len(made.RETURN_TYPES) == len(made.RETURN_NAMES) == len(node.outputs)
    assert made.OUTPUT_NODE == ("hidden" in types) == node.is_output
    assert hasattr(made, "IS_CHANGED") == (node.fingerprint is not None)


def test_ids_are_unique_and_stable() -> None:
    assert [node.id for node in NODES] == [
        "Vae2xLoadVae",
        "Vae2xDecode",
        "Vae2xDecodeToFile",
        "Vae2xEncode",
        "Vae2xUpscale",
        "Vae2xHighres",
    ]


def test_load_opens_a_model_once(comfy: Path) -> None:
    options = {"vae_name": "demo:base", "hub_id": "", "device": "cpu", "dtype": "f32", "threads": 1}
    first = load.run(Caller(), **options).values[0]
    assert first.vae.threads == 1
    assert load.run(Caller(), **options).values[0] is first
    assert load.run(Caller(), **{**options, "vae_name": "x", "hub_id": " demo:base "}).values[0] is first
    assert load.run(Caller(), **{**options, "threads": 2}).values[0] is not first
    spec = first.spec
    del first
    gc.collect()
    assert spec not in models._opened


def test_load_names_a_missing_file(comfy: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.safetensors is not in ComfyUI/models/vae"):
        load.run(Caller(), "none.safetensors", "", "cpu", "f32", 0)


def test_a_file_that_was_replaced_is_opened_again(comfy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    monkeypatch.setattr(host, "vae_path", lambda name: str(path))
    path.write_bytes(b"one")
    before = load.fingerprint("a.safetensors")
    path.write_bytes(b"three")
    assert load.fingerprint("a.safetensors") != before
    with pytest.raises(vae2x.BadFile):
        load.run(Caller(), "a.safetensors", "", "cpu", "f32", 0)


def test_decode_gives_frames_as_images(comfy: Path, large: LoadedVae, clip: np.ndarray) -> None:
    pytest.importorskip("torch")
    images = decode.run(Caller(), {"samples": clip}, large, "auto", "raw").values[0]
    assert images.shape == (9, 128, 192, 3)
    assert (images.numpy() == large.vae.decode(clip, space="raw")[0]).all()


def test_scale_and_colours(comfy: Path, large: LoadedVae, base: LoadedVae, image: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    latent = {"samples": torch.from_numpy(image)}
    small = decode.run(Caller(), latent, large, "1", "raw", color_vae=base).values[0]
    expected = large.vae.decode(image, space="raw", scale=1, match_color=base.vae)
    assert (small.numpy() == expected).all()
    with pytest.raises(ValueError, match="exclude each other"):
        decode.run(Caller(), latent, large, "1", "raw", color_vae=base, color_image=small)
    with pytest.raises(vae2x.BadRequest, match="scale=4"):
        decode.run(Caller(), latent, large, "4", "raw")


def test_encode_decodes_to_what_came_in(comfy: Path, base: LoadedVae) -> None:
    torch = pytest.importorskip("torch")
    from conftest import waves

    pixels = torch.from_numpy(waves(9, 64, 96))
    clip = encode.run(Caller(), pixels, base, "clip", "crop").values[0]["samples"]
    assert clip.shape == (1, 16, 3, 8, 12)
    images = encode.run(Caller(), pixels[:2], base, "images", "crop").values[0]["samples"]
    assert images.shape == (2, 16, 1, 8, 12)
    back = decode.run(Caller(), {"samples": images}, base, "auto", "raw").values[0]
    assert abs(back - pixels[:2]).mean() < 0.05
    one = encode.run(Caller(), pixels[:1], base, "clip", "crop").values[0]["samples"]
    assert (one == images[:1]).all()


def test_upscale_and_highres_double(comfy: Path, large: LoadedVae, image: np.ndarray) -> None:
    pytest.importorskip("torch")
    from conftest import waves

    assert upscale.run(Caller(), waves(2, 60, 90), large, "images", True).values[0].shape == (2, 120, 180, 3)
    for array in (image, image[:1, :, None], image[:, :, None]):
        latent = {"samples": array, "noise_mask": "kept"}
        result = highres.run(Caller(), latent, large).values[0]
        assert result["samples"].shape == (*array.shape[:-2], 16, 24)
        assert result["noise_mask"] == "kept"


def test_a_file_for_each_item(comfy: Path, large: LoadedVae, image: np.ndarray) -> None:
    caller = Caller({"1": {}}, {"workflow": {"nodes": []}})
    result = decode_to_file.run(caller, {"samples": image}, large, **{**FILE, "format": "png"})
    paths = result.values[0].splitlines()
    assert [Path(path).name for path in paths] == ["a_00001_.png", "a_00002_.png"]
    assert all(Path(path).is_file() for path in paths)
    assert [item["subfolder"] for item in result.ui["images"]] == ["clips"]


def test_frames_are_shown_from_their_folder(comfy: Path, large: LoadedVae, clip: np.ndarray) -> None:
    result = decode_to_file.run(Caller(), {"samples": clip}, large, **{**FILE, "format": "png"})
    shown = result.ui["images"][0]
    assert shown == {"filename": "frame_00000.png", "subfolder": "clips/a_00001_", "type": "output"}
    assert (comfy / shown["subfolder"] / shown["filename"]).is_file()


def test_in_background_the_node_returns_at_once(
    comfy: Path, large: LoadedVae, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(host, "send", lambda event, data: events.append({"event": event, **data}))
    options = {**FILE, "format": "png", "in_background": True}
    array = clip.copy()
    result = decode_to_file.run(Caller(), {"samples": array}, large, **options)
    # The sampler's memory is used again.
    array[:] = 0
    end = time.monotonic() + 60
    while not (events and "output" in events[-1]):
        assert time.monotonic() < end
        time.sleep(0.02)
    job = background.JOBS.all()[-1]
    assert job.state == "done"
    assert Path(job.result[0]).parent == Path(result.values[0])
    assert {event["event"] for event in events} == {"vae2x.job"}
    assert {(event["node"], event["prompt_id"]) for event in events} == {("7", "prompt")}
    texts = [event["text"] for event in events]
    assert "a_00001_: waiting" in texts
    assert texts[-1] == "a_00001_: written"
    assert json.loads(json.dumps(events[-1]["output"]))["images"][0]["filename"] == "frame_00000.png"
    pillow = pytest.importorskip("PIL.Image")
    first = large.vae.decode(clip, space="raw", dtype="uint8")[0, 0]
    assert (np.asarray(pillow.open(job.result[0])) == first).all()


def test_the_background_has_the_cpu_and_leaves_a_core() -> None:
    spec = Spec("demo:2x")
    assert models.for_background(spec, "cuda:0", 8) == Spec("demo:2x", "cpu", threads=7)
    assert models.for_background(spec, "cpu", 8) == Spec("demo:2x", "cpu", threads=7)
    assert models.for_background(spec, "cpu", 1) == spec
    assert models.for_background(Spec("demo:2x", "cuda", threads=3), "cuda:0", 8).threads == 3
    assert models.for_background(Spec("demo:2x", "cpu", threads=3), "cpu", 8) == Spec("demo:2x", "cpu", threads=3)
