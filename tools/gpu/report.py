"""Makes markdown of what measure.sh measured: python tools/gpu/report.py FOLDER, where results.jsonl is."""
import json
import pathlib
import sys


def table(head, rows):
    """A table, if there are rows."""
    if rows:
        print("\n| " + " | ".join(head) + " |")
        print("|" + "---|" * len(head))
        for row in rows:
            print("| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |")


def seconds(value):
    return f"{value:.3g}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def size(line):
    """Pixels at base resolution."""
    h, w = (8 * int(n) for n in line["cells"].split("x"))
    frames = 4 * line["latent_frames"] - 3
    return f"{w}x{h}" + (f", {frames} frames" if frames > 1 else "")


def engine(line):
    """The engine, and which of CubeCL's compilers its program has."""
    name = line["engine"] if "engine" in line else line["device"]
    return name + " (LLVM)" * ("LLVM" in line["step"])


def main():
    folder = pathlib.Path(sys.argv[1])
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    of = lambda what: [line for line in lines if line["what"] == what]
    device = next((line["device"] for line in lines if "torch" in line), "the device")
    log = folder / "logs" / "device.log"
    facts = log.read_text() if log.exists() else ""
    facts = [" ".join(line.split()) for line in facts.splitlines() if "Driver Version" in line or line.startswith("Model name")]
    print(f"# {device}\n")
    for fact in facts:
        print(f"- {fact.strip('| ')}")

    print("\n## Goldens: relative L2 errors")
    rows = [[engine(p), p["model"], p["dtype"], f"{p['error']:.1e}", p["worst"]] for p in of("parity")]
    rows += [[engine(b), f"{b['bands']} bands against the whole", "f32", f"{b['error']:.1e}", ""] for b in of("bands")]
    table(["engine", "model", "precision", "largest", "of"], rows)

    print("\n## Decoding: from latents to pixels, in seconds")
    order = sorted(of("decode"), key=lambda line: (line["latent_frames"], len(size(line)), size(line), line["dtype"], line["seconds"]))
    rows = [
        [size(d), engine(d), d["dtype"], seconds(d["first_s"]), seconds(d["seconds"]), d["device_mb"]]
        for d in order
        if d["engine"] in ("diffusers",) or not d["engine"].startswith("cpu")
    ]
    table(["base image", "engine", "precision", "first", "then", "device memory, MB"], rows)
    compiled = [line for line in lines if "tf32" in line]
    if compiled:
        tf32 = compiled[0]["tf32"]
        print(f"\nPyTorch {compiled[0]['torch']}; TF32 in its f32: products {tf32['products']}, convolutions {tf32['convolutions']}.")

    on_cpu = sorted((d for d in of("decode") if d["engine"].startswith("cpu")), key=lambda d: d["threads"])
    if on_cpu:
        print("\n## The CPU engine by threads")
        one = on_cpu[0]["seconds"]
        table(
            ["base image", "engine", "threads", "seconds", "faster than one by"],
            [[size(d), d["engine"], d["threads"], seconds(d["seconds"]), f"{one / d['seconds']:.2f}"] for d in on_cpu],
        )

    steps = of("step")
    if steps:
        print("\n## Training steps with all losses")
        rows = [
            [engine(s), s["dtype"], s["base_dim"], s["crop"], s["batch"], seconds(s["seconds"][0]), seconds(min(s["seconds"][1:] or s["seconds"])),
             f"{s['images_per_second']:.2f}", s["device_mb"], s["process_mb"]]
            for s in steps
        ]
        table(["engine", "precision", "base width", "crop", "batch", "first, s", "then, s", "images/s", "device, MB", "process, MB"], rows)
        for step in steps:
            if step.get("parts"):
                parts = ", ".join(f"{name} {seconds(value)}" for name, value in step["parts"].items())
                print(f"\nParts in {step['dtype']}, in seconds: {parts}.")

    if of("layer"):
        print("\n## Layers: what bounds them")
        for top in of("ceilings"):
            print(f"\nIn {top['dtype']} a product of {top['product']}x{top['product']} matrices reaches {top['tflops']:.3g} TFLOP/s, a copy "
                  f"{top['gb_per_s']:.0f} GB/s.")
        rows = [
            [f"{l['inputs']} -> {l['outputs']}, {l['kernel']}x{l['kernel']}", l["size"], l["count"], f"{1e3 * l['seconds']:.3g}", f"{l['share']:.0%}",
             f"{l['tflops']:.3g}", f"{l['of_product']:.0%}", f"{l['of_copy']:.0%}"]
            for l in sorted(of("layer"), key=lambda line: -line["share"])
        ]
        table(["convolution", "size", "times", "ms", "share", "TFLOP/s", "of the product", "of the copy"], rows)

    failed = [line for line in of("end") if line["code"] != "0"]
    print("\n## Steps")
    print(f"\n{len(of('end')) - len(failed)} of {len(of('end'))} went through, {sum(line['took'] for line in of('end'))} s in all.")
    for line in failed:
        why = {"124": "ran out of its seconds", "137": "ran out of its seconds", "skipped": "no time was left"}.get(line["code"], f"exit code {line['code']}")
        print(f"- {line['step']}: {why} (logs)")


main()
