"""What must hold in a running ComfyUI. Each check returns what it found, in words, or raises an exception."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

import graphs
from server import Failed, Interrupted, Server

NODES = ("Vae2xLoadVae", "Vae2xDecode", "Vae2xDecodeToFile", "Vae2xEncode", "Vae2xUpscale", "Vae2xHighres")
INTERRUPT_SECONDS = 1.0
BACKGROUND_SECONDS = 600.0
# Of medium.latent.
MEDIUM_FRAMES = 33


@dataclass
class Place:
    """Where checks run."""

    server: Server
    inputs: Path
    # For results of the command line.
    work: Path
    has_ffmpeg: bool

    def command_line(self, *arguments: Any) -> None:
        """Runs the program that comes with the wheel."""
        program = [sys.executable, "-m", "vae2x", *map(str, arguments)]
        ran = subprocess.run(program, capture_output=True, text=True)
        expect(ran.returncode == 0, ran.stderr)


def expect(holds: bool, otherwise: str) -> None:
    """Fails with a text."""
    if not holds:
        raise AssertionError(otherwise)


def pixels(path: Path) -> np.ndarray:
    """The pixels of an image."""
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def frames(path: Path) -> list[np.ndarray]:
    """The frames of a video, as they are stored."""
    with av.open(path) as video:
        return [frame.to_ndarray() for frame in video.decode(video=0)]


def frame_count(path: Path) -> int:
    """The number of frames that can be decoded."""
    with av.open(path) as video:
        return sum(1 for _ in video.decode(video=0))


def prompt_of(texts: dict[str, str]) -> Any:
    """The prompt in a file's metadata, without what ComfyUI adds when it runs one."""
    prompt = json.loads(texts["prompt"])
    for item in prompt.values():
        item.pop("is_changed", None)
    return prompt


def nodes_load(place: Place) -> str:
    """The nodes load without a warning."""
    log = place.server.log()
    expect("IMPORT FAILED" not in "".join(line for line in log.splitlines() if "vae2x" in line), log)
    lines = [line for line in log.splitlines() if "vae2x" in line.lower() and "--base-directory" not in line]
    others = [line for line in lines if "seconds" not in line and "directory" not in line]
    expect(bool(lines) and not others, "\n".join(others) or "the log does not name the nodes")
    info = place.server.get("/object_info")
    missing = [name for name in NODES if name not in info]
    expect(not missing, f"missing: {missing}")
    modes = info["Vae2xDecodeToFile"]["input"]["required"]
    expect("tooltip" in json.dumps(modes["in_background"]), str(modes["in_background"]))
    return f"{len(NODES)} nodes, {info['Vae2xDecode']['python_module']}"


def image(place: Place) -> str:
    """A latent file to IMAGE to SaveImage gives the command line's image."""
    outputs = place.server.run(graphs.decode("image.latent"))
    found = pixels(place.server.output(outputs["4"]["images"][0]))
    reference = place.work / "image.png"
    place.command_line("decode", place.inputs / "image.latent", "--vae", "demo:2x", "-o", reference)
    expected = pixels(reference)
    expect(found.shape == expected.shape, f"{found.shape}, expected {expected.shape}")
    # SaveImage cuts fractions off; the command line rounds.
    worst = abs(found - expected).max()
    expect(worst <= 1, f"differs by {worst} levels")
    return f"{found.shape[1]} x {found.shape[0]}, at most {worst} level from the command line's"


def image_file(place: Place) -> str:
    """Decode to File gives exactly the command line's image, with the prompt in it."""
    graph = graphs.to_file("image.latent", format="png")
    outputs = place.server.run(graph, {"nodes": [], "name": "Größe"})
    path = place.server.output(outputs["3"]["images"][0])
    found, expected = pixels(path), pixels(place.work / "image.png")
    expect(found.shape == expected.shape and (found == expected).all(), "pixels differ")
    texts = Image.open(path).text
    expect(prompt_of(texts) == graph, f"prompt: {texts.get('prompt')}")
    expect(json.loads(texts["workflow"])["name"] == "Größe", f"workflow: {texts.get('workflow')}")
    return path.name


def sequences(place: Place) -> str:
    """Clips as folders of PNG and EXR files."""
    found = []
    for kind, ending in (("png 16 bit", ".png"), ("exr", ".exr")):
        outputs = place.server.run(graphs.to_file("clip.latent", format=kind, filename_prefix=f"checks/{ending[1:]}"))
        folder = max((place.server.base / "output/checks").glob(f"{ending[1:]}_*_"))
        files = sorted(path.name for path in folder.iterdir())
        expect(len(files) == 9 and all(name.endswith(ending) for name in files), str(files))
        if ending == ".png":
            expect(place.server.output(outputs["3"]["images"][0]).is_file(), str(outputs))
        found.append(f"{folder.name}/{files[0]} to {files[-1]}")
    return ", ".join(found)


def video(place: Place) -> str:
    """Decode to File gives a playable mp4 with sound and workflow, equal to the command line's where both use FFmpeg."""
    graph = graphs.to_file("clip.latent", filename_prefix="checks/video")
    workflow = {"nodes": [], "name": "Größe"}
    silent = json.loads(json.dumps(graph))
    graph["4"] = graphs.node("LoadAudio", audio="tone.wav")
    graph["3"]["inputs"]["audio"] = ["4", 0]
    sound = "sound"
    try:
        shown = place.server.run(graph, workflow)["3"]
    except Failed as error:
        # Old versions of ComfyUI do not load sounds with new versions of torchaudio.
        expect(error.message["node_type"] == "LoadAudio", str(error))
        graph, sound = silent, "no sound, as ComfyUI's LoadAudio failed"
        shown = place.server.run(graph, workflow)["3"]
    path = place.server.output(shown["images"][0])
    expect(shown["animated"] == [True], f"no preview: {shown}")
    with av.open(path) as container:
        texts = dict(container.metadata)
        kinds = sorted(stream.type for stream in container.streams)
        rate = container.streams.video[0].average_rate
        colors = container.streams.video[0].codec_context.colorspace
    expect(prompt_of(texts) == graph, f"prompt: {texts.get('prompt')}")
    expect(json.loads(texts["workflow"])["name"] == "Größe", f"workflow: {texts.get('workflow')}")
    expect(kinds == (["video"] if graph is silent else ["audio", "video"]), f"streams: {kinds}")
    expect(rate == 16, f"{rate} frames per second")
    expect(int(colors) == 1, f"colour space {colors}, expected BT.709")
    found = frames(path)
    expect(len(found) == 9, f"{len(found)} frames, expected 9")
    reference = place.work / "clip.mp4"
    place.command_line("decode", place.inputs / "clip.latent", "--vae", "demo:2x", "-o", reference)
    worst = max(abs(a.astype(int) - b.astype(int)).max() for a, b in zip(found, frames(reference), strict=True))
    # Without FFmpeg, PyAV's conversion of colours and its encoder are others.
    expect(worst <= (0 if place.has_ffmpeg else 24), f"differs by {worst} levels from the command line's")
    return f"{path.name}, 9 frames, {sound}, workflow, {worst} levels from the command line's"


def other_formats(place: Place) -> str:
    """The other kinds of video can be played."""
    found = []
    for kind in ("mp4 h265", "mp4 av1", "webm vp9", "webm av1", "mov prores", "mkv ffv1"):
        folder = place.server.base / "output/checks"
        prefix = kind.replace(" ", "_")
        place.server.run(graphs.to_file("clip.latent", format=kind, filename_prefix=f"checks/{prefix}"))
        path = next(folder.glob(f"{prefix}_*"))
        count = frame_count(path)
        expect(count == 9, f"{kind}: {count} frames, expected 9")
        with av.open(path) as container:
            expect(
                "prompt" in {key.lower() for key in container.metadata}, f"{kind}: no prompt in {container.metadata}"
            )
        found.append(kind)
    return ", ".join(found)


def color_and_scale(place: Place) -> str:
    """Scale 1 with the colours of a base decoder gives the command line's image."""
    graph = graphs.to_file("image.latent", format="png", scale="1")
    graph["4"] = graphs.node("Vae2xLoadVae", **{**graphs.VAE, "vae_name": "demo:base"})
    graph["3"]["inputs"]["color_vae"] = ["4", 0]
    path = place.server.output(place.server.run(graph)["3"]["images"][0])
    reference = place.work / "small.png"
    options = ("--vae", "demo:2x", "--scale", "1", "--match-color", "base:demo:base")
    place.command_line("decode", place.inputs / "image.latent", *options, "-o", reference)
    found, expected = pixels(path), pixels(reference)
    expect(
        found.shape == expected.shape and (found == expected).all(), f"{found.shape}, {expected.shape}: pixels differ"
    )
    return f"{found.shape[1]} x {found.shape[0]}, equal"


def other_nodes(place: Place) -> str:
    """Encode, Upscale and Highres give what the command line gives."""
    graph = {
        "1": graphs.node("LoadImage", image="photo.png"),
        "2": graphs.node("Vae2xLoadVae", **graphs.VAE),
        "3": graphs.node("Vae2xEncode", pixels=["1", 0], vae=["2", 0], batch="clip", edges="crop"),
        "4": graphs.node("SaveLatent", samples=["3", 0], filename_prefix="checks/encoded"),
        "5": graphs.node("Vae2xHighres", samples=["3", 0], vae=["2", 0]),
        "6": graphs.node("SaveLatent", samples=["5", 0], filename_prefix="checks/large"),
        "7": graphs.node("Vae2xUpscale", image=["1", 0], vae=["2", 0], batch="images", match_color=False),
        "8": graphs.node("SaveImage", images=["7", 0], filename_prefix="checks/upscaled"),
    }
    outputs = place.server.run(graph)
    place.command_line("upscale", place.inputs / "photo.png", "--vae", "demo:2x", "-o", place.work / "upscaled.png")
    found = pixels(place.server.output(outputs["8"]["images"][0]))
    worst = abs(found - pixels(place.work / "upscaled.png")).max()
    expect(worst <= 1, f"upscale differs by {worst} levels")
    place.command_line("encode", place.inputs / "photo.png", "--vae", "demo:2x", "-o", place.work / "encoded.latent")
    place.command_line("hires", place.work / "encoded.latent", "--vae", "demo:2x", "-o", place.work / "large.latent")
    worst_latent = 0.0
    for name, shape in (("encoded", (1, 16, 1, 24, 32)), ("large", (1, 16, 1, 48, 64))):
        mine = next((place.server.base / "output/checks").glob(f"{name}_*.latent"))
        a, b = _latent(mine), _latent(place.work / f"{name}.latent")
        expect(a.shape == shape, f"{name}: shape {a.shape}, expected {shape}")
        worst_latent = max(worst_latent, abs(a.reshape(-1) - b.reshape(-1)).max())
    expect(worst_latent < 1e-5, f"latents differ by {worst_latent}")
    return f"upscale within {worst} level, latents within {worst_latent:.1e}"


def _latent(path: Path) -> np.ndarray:
    from safetensors.numpy import load_file

    return load_file(path)["latent_tensor"]


def wrong_latent(place: Place) -> str:
    """A 48-channel latent is a node error in our words."""
    for graph, at in (
        (graphs.decode("wan22_5b.latent"), "Vae2xDecode"),
        (graphs.to_file("wan22_5b.latent"), "Vae2xDecodeToFile"),
    ):
        try:
            place.server.run(graph)
        except Failed as error:
            message = error.message
        else:
            raise AssertionError(f"{at}: no error")
        expect(message["node_type"] == at, str(message))
        expect("this latent has 48 channels: it is Wan2.2-5B's" in message["exception_message"], str(message))
    return message["exception_message"].strip()


def interrupt(place: Place) -> str:
    """Interrupt stops a decode within a second, and leaves nothing behind."""
    taken = []
    for graph in (graphs.decode("long.latent"), graphs.to_file("long.latent", filename_prefix="interrupted/clip")):
        prompt_id = place.server.submit(graph)
        # A good way into the decode, which loads its weights first.
        time.sleep(4)
        expect(place.server.ended(prompt_id) is None, "the decode was too fast to interrupt")
        start = time.time()
        place.server.post("/interrupt")
        try:
            place.server.wait(prompt_id)
        except Interrupted as interrupted:
            # By the server's clock: right afterwards it may collect garbage for a second, and not answer.
            taken.append(interrupted.time - start)
        else:
            raise AssertionError("the prompt went on to its end")
    words = " and ".join(f"{seconds:.2f} s" for seconds in taken)
    expect(max(taken) <= INTERRUPT_SECONDS, f"took {words}")
    left = [path.name for path in (place.server.base / "output").glob("interrupted/*")]
    expect(not left, f"left behind: {left}")
    return words


def _jobs(place: Place) -> list[dict[str, Any]]:
    return place.server.get("/vae2x/jobs")


def _wait_for_jobs(place: Place) -> list[dict[str, Any]]:
    end = time.monotonic() + BACKGROUND_SECONDS
    while any(job["state"] in ("waiting", "running") for job in _jobs(place)):
        expect(time.monotonic() < end, "jobs in the background did not end")
        time.sleep(0.2)
    return _jobs(place)


def background(place: Place) -> str:
    """In the background, a second prompt runs while the first one's clip is decoded."""
    graph = graphs.to_file("medium.latent", in_background=True, filename_prefix="checks/later")
    start = time.monotonic()
    outputs = place.server.run(graph)
    returned = time.monotonic() - start
    job = _jobs(place)[-1]
    expect(job["state"] in ("waiting", "running"), f"the job has ended already: {job}")
    place.server.run(graphs.decode("image.latent", scale="1"))
    second = time.monotonic() - start
    running = [job for job in _jobs(place) if job["state"] == "running"]
    expect(bool(running), "the second prompt ended after the first one's clip")
    job = _wait_for_jobs(place)[-1]
    expect(job["state"] == "done", str(job))
    path = Path(job["result"][0])
    count = frame_count(path)
    expect(count == MEDIUM_FRAMES, f"{count} frames, expected {MEDIUM_FRAMES}")
    expect(path.name in json.dumps(outputs["3"]), f"{path.name} is not in {outputs['3']}")
    total = time.monotonic() - start
    return f"returned after {returned:.1f} s, second prompt done after {second:.1f} s, clip of {count} frames after {total:.1f} s"


def queue(place: Place) -> str:
    """A full queue waits and can be interrupted; a job can be cancelled; one that fails says so."""
    for number in range(4):
        place.server.run(graphs.to_file("long.latent", in_background=True, filename_prefix=f"queue/clip{number}"))
    waiting = place.server.submit(graphs.to_file("long.latent", in_background=True, filename_prefix="queue/clip4"))
    time.sleep(2)
    expect(place.server.ended(waiting) is None, "the fifth job did not wait")
    place.server.post("/interrupt")
    try:
        place.server.wait(waiting, 5)
    except Interrupted:
        pass
    else:
        raise AssertionError("the fifth job was not interrupted")
    opened = [job["id"] for job in _jobs(place) if job["state"] in ("waiting", "running")]
    expect(len(opened) == 4, f"{len(opened)} jobs are open, expected 4")
    for id in opened:
        place.server.post(f"/vae2x/jobs/{id}/cancel")
    states = {job["state"] for job in _wait_for_jobs(place) if job["id"] in opened}
    expect(states == {"cancelled"}, f"states: {states}")
    left = [str(path) for path in (place.server.base / "output").glob("queue/*")]
    expect(not left, f"left behind: {left}")
    blocker = place.server.base / "output" / "blocked"
    blocker.mkdir(exist_ok=True)
    place.server.run(
        graphs.to_file(
            "clip.latent",
            in_background=True,
            format="mov prores",
            pixel_format="yuv420p",
            filename_prefix="blocked/clip",
        )
    )
    job = _wait_for_jobs(place)[-1]
    expect(job["state"] == "failed" and bool(job["error"]), f"expected a failure: {job}")
    expect("failed in the background" in place.server.log(), "the log does not name the failure")
    return f"4 jobs, the fifth waited; cancelled; failure shown: {job['error']}"


def examples(place: Place, folder: Path) -> str:
    """The example workflows run as they are, with the demo model and short inputs; those of the page have the same nodes."""
    found = []
    for path in sorted(folder.glob("*.json")):
        prompt = json.loads(path.read_text())
        page = json.loads((folder.parent / path.name).read_text())
        kinds = {str(item["id"]): item["type"] for item in page["nodes"]}
        expect(kinds == {id: item["class_type"] for id, item in prompt.items()}, f"{path.name}: {kinds}")
        place.server.run(prompt)
        found.append(path.stem)
    _wait_for_jobs(place)
    expect(bool(found), f"no examples in {folder}")
    return ", ".join(found)


def ending(place: Place) -> str:
    """Ctrl-C ends ComfyUI after the clip in the background is finished. Last, as the server is gone then."""
    place.server.run(graphs.to_file("medium.latent", in_background=True, filename_prefix="last/clip"))
    time.sleep(1)
    expect(any(job["state"] == "running" for job in _jobs(place)), "no job runs")
    place.server.ctrl_c()
    place.server.process.wait(BACKGROUND_SECONDS)
    files = list((place.server.base / "output/last").iterdir())
    expect(len(files) == 1 and frame_count(files[0]) == MEDIUM_FRAMES, f"files: {files}\n{place.server.log()[-2000:]}")
    return f"{files[0].name} has all {MEDIUM_FRAMES} frames"


ALL = (
    nodes_load,
    image,
    image_file,
    sequences,
    video,
    other_formats,
    color_and_scale,
    other_nodes,
    wrong_latent,
    interrupt,
    background,
    queue,
)
