"""Threads, progress, cancellation, Ctrl-C, other processes."""

import multiprocessing
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import latent_values

import vae2x

# It takes several seconds, of which a single step takes most.
LONG = np.zeros((16, 1, 160, 160), np.float32)
# Many short steps.
CLIP = latent_values(16, 24, 12, 12)


def test_threads_share_a_model_and_each_gets_its_own(vae, base):
    latents = [latent_values(16, 2, 6, 4 + i, seed=i) for i in range(6)]
    models = [vae, base, vae2x.Vae.open("demo:2x", threads=1)]
    expected = [[model.decode(latent, space="raw") for latent in latents] for model in models]
    got = [[None] * len(latents) for _ in models]

    def work(m, i):
        got[m][i] = models[m].decode(latents[i], space="raw")

    threads = [threading.Thread(target=work, args=(m, i)) for m in range(len(models)) for i in range(len(latents))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for of_model, expected_of_model in zip(got, expected):
        assert all(np.array_equal(a, b) for a, b in zip(of_model, expected_of_model))


def test_other_threads_run_meanwhile(vae):
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.01):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    vae.decode(CLIP, space="raw")
    took = time.monotonic() - started
    done.set()
    thread.join()
    assert len(ticks) > 0.2 * took / 0.01


def test_progress_rises_to_one_on_the_calling_thread(vae):
    heard = []
    vae.decode(CLIP, space="raw", progress=lambda done: heard.append((done, threading.current_thread())))
    parts = [done for done, _ in heard]
    assert parts == sorted(parts) and parts[-1] == 1 and len(parts) > 2
    assert {thread for _, thread in heard} == {threading.current_thread()}
    for work in [lambda **o: vae.encode(np.zeros((64, 64, 3)), **o), lambda **o: vae.refine(CLIP[:, 0], **o)]:
        parts = []
        work(progress=parts.append)
        assert parts[-1] == 1


def test_each_latent_frame_is_reported_however_soon_it_is_done(vae):
    parts = []
    latent = np.zeros((16, 6, 1, 1), np.float32)
    for _ in vae.decoder(latent, space="raw", progress=parts.append):
        pass
    assert parts == sorted(parts) and parts[-1] == 1
    assert {round(part * 6, 3) for part in parts} >= {1, 2, 3, 4, 5, 6}


def stops(work, error, within=1.0):
    """Runs `work`, which is stopped after a while, and returns how long it went on."""
    at = []
    with pytest.raises(error):
        work(at)
    late = time.monotonic() - at[0]
    assert late < within, f"{late} s"


def test_an_event_stops_a_step(vae):
    def work(at):
        event = threading.Event()
        stop = lambda: (at.append(time.monotonic()), event.set())
        threading.Timer(0.5, stop).start()
        vae.decode(LONG, space="raw", cancel=event)

    stops(work, vae2x.Cancelled)
    assert vae.decode(latent_values(16, 4, 4), space="raw").shape == (64, 64, 3), "the model works afterwards"


def test_the_callback_stops_the_work(vae, tmp_path):
    def stop(at, answer):
        def progress(done):
            at.append(time.monotonic())
            return answer()

        return progress

    def fail():
        raise KeyError("mine")

    stops(lambda at: vae.decode(CLIP, progress=stop(at, lambda: False)), vae2x.Cancelled)
    stops(lambda at: vae.decode(CLIP, progress=stop(at, fail)), KeyError)
    for name in ["clip.y4m", "frames/", "clip.apng"]:
        path = f"{tmp_path}/{name}"
        stops(lambda at: vae.decode_to_file(CLIP, path, progress=stop(at, lambda: False)), vae2x.Cancelled)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".png"]
    assert written == [], "files appear whole or not at all"
    heard = []
    vae.decode(CLIP[:, :3], progress=heard.append)
    vae.decode(CLIP[:, :3], progress=lambda done: None)


def test_an_event_that_is_set_lets_nothing_begin(vae, tmp_path):
    event = threading.Event()
    event.set()
    for work in [
        lambda: vae.decode(CLIP, cancel=event),
        lambda: vae.encode(np.zeros((16, 16, 3)), cancel=event),
        lambda: vae.upscale(np.zeros((16, 16, 3)), cancel=event),
        lambda: vae.refine(CLIP, cancel=event),
        lambda: next(vae.decoder(CLIP, cancel=event)),
        lambda: vae.decode_to_file(CLIP, tmp_path / "a.y4m", cancel=event),
        lambda: vae2x.Vae.open("demo:2x", cancel=event),
    ]:
        with pytest.raises(vae2x.Cancelled):
            work()


INTERRUPTED = """
import sys, time, numpy as np, vae2x
vae = vae2x.Vae.open("demo:2x")
print("ready", flush=True)
try:
    vae.decode(np.zeros((16, 1, 160, 160), np.float32), space="raw")
except KeyboardInterrupt:
    assert vae.decode(np.zeros((16, 4, 4), np.float32), space="raw").shape == (64, 64, 3)
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_stops_a_step():
    run = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "ready\n"
    time.sleep(0.7)
    run.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert run.stdout.readline() == "interrupted\n"
    assert time.monotonic() - started < 1.5
    assert run.wait(10) == 0


def child(queue, kept):
    try:
        kept.decode(latent_values(16, 4, 4), space="raw")
        queue.put("decoded")
    except vae2x.BadRequest as error:
        queue.put(str(error))
    own = vae2x.Vae.open("demo:2x")
    queue.put(own.decode(latent_values(16, 4, 4), space="raw"))


@pytest.mark.skipif(sys.platform != "linux", reason="fork")
def test_a_forked_process_opens_its_own(vae):
    expected = vae.decode(latent_values(16, 4, 4), space="raw")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue, vae))
    process.start()
    assert "another process" in queue.get(timeout=60)
    assert np.array_equal(queue.get(timeout=60), expected)
    process.join()


def test_a_long_clip_takes_no_more_memory_than_a_short_one():
    code = """
import resource, sys, numpy as np, vae2x
vae = vae2x.Vae.open("demo:2x", threads=2)
count = sum(1 for _ in vae.decoder(np.zeros((16, int(sys.argv[1]), 12, 12), np.float32), space="raw", dtype="uint8"))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    run = lambda n: subprocess.run([sys.executable, "-c", code, str(n)], capture_output=True, text=True, check=True)
    (few, short), (many, long) = ([int(x) for x in run(n).stdout.split()] for n in (4, 30))
    assert (few, many) == (13, 117)
    # The frames are 45 MB longer, and in kilobytes.
    assert long - short < 12_000
