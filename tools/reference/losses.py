"""Losses that have no golden elsewhere, in float64: the fixture losses.safetensors of crates/nn/tests/losses.rs.

    python tools/reference/losses.py OUT.safetensors

Needs torch, safetensors, numpy. Everything random is by formula, so that the script has no seed. The frequency distribution loss is
taken over height and width of an image, and over frames too of a clip, on three stages of VGG19; its transform is torch's, in which
bins that are real by symmetry are made so, because an angle of a negative number with a rounded imaginary part is either of pi and
-pi. The targets have half the contrast, so that few of the sorted differences, whose signs make the gradient, are next to nothing.
"""
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

PROJECTIONS, PATCH, PHASE = 6, 5, 100.0
STAGES = [(64, 2), (128, 2), (256, 4)]
SIDE, FRAMES = 24, 6
DOUBLE = torch.float64


def unit(key, shape):
    """vae2x_core::weights::formula::unit."""
    seed = 0xCBF29CE484222325
    for byte in key.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = (z ^ (z >> np.uint64(31))) >> np.uint64(40)
    return torch.from_numpy((z.astype(np.float64) / 2.0**23 - 1.0).astype(np.float32).reshape(shape)).to(DOUBLE)


def formula(key, shape):
    scale = 0.05 if key.endswith("bias") else math.sqrt(2) * math.sqrt(3 / math.prod(shape[1:]))
    return (np.float32(scale) * unit(key, shape).to(torch.float32)).to(DOUBLE)


def vgg19(x):
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=DOUBLE).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=DOUBLE).view(1, 3, 1, 1)
    x, features, index, inputs = ((x + 1) / 2 - mean) / std, [], 0, 3
    for i, (width, convs) in enumerate(STAGES):
        x = F.max_pool2d(x, 2) if i else x
        for _ in range(convs):
            key = f"vgg19.features.{index}"
            x = F.relu(F.conv2d(x, formula(key + ".weight", (width, inputs, 3, 3)), formula(key + ".bias", (width,)), padding=1))
            index, inputs = index + 2, width
        index += 1
        features.append(x)
    return features


def framewise(x):
    """Features of images, or of each frame of clips."""
    if x.dim() == 4:
        return vgg19(x)
    frames = [vgg19(x[:, :, f]) for f in range(x.shape[2])]
    return [torch.stack(stage, 2) for stage in zip(*frames)]


def spectrum(x, norm):
    """Over all axes but the first two."""
    axes = tuple(range(2, x.dim()))
    bins = torch.fft.fftn(x, dim=axes, norm=norm)
    real = torch.ones((), dtype=torch.bool)
    for axis in axes:
        own = torch.tensor([-k % x.shape[axis] == k for k in range(x.shape[axis])])
        real = real & own.view([-1 if a == axis else 1 for a in range(x.dim())])
    return bins.real, torch.where(real, torch.zeros_like(bins.imag), bins.imag)


def fdl(x, y, phase=0.0, norm="backward"):
    """With angles only the first stage: in later ones few pixels of a channel may be above 0, and bins that are real by chance lie at
    the cut of the angle."""
    axes = x.dim() - 2
    convolve = {2: F.conv2d, 3: F.conv3d}[axes]
    total = 0
    pairs = list(zip(framewise(x), framewise(y)))[: 1 if phase else None]
    for i, (a, b) in enumerate(pairs):
        kernel = unit(f"fdl{axes}.proj.{i}", (PROJECTIONS, a.shape[1]) + (PATCH,) * axes)
        kernel = kernel / kernel.flatten(1).norm(dim=1).view([-1] + [1] * (axes + 1))

        def distance(p, q):
            p, q = (convolve(m, kernel).flatten(2).sort(dim=2)[0] for m in (p, q))
            return (p - q).abs().mean()

        (ar, ai), (br, bi) = spectrum(a, norm), spectrum(b, norm)
        total = total + distance(torch.sqrt(ar**2 + ai**2), torch.sqrt(br**2 + bi**2))
        if phase:
            total = total + phase * distance(torch.atan2(ai, ar), torch.atan2(bi, br))
    return 0.001 * total


def feature_l1(x, y):
    """Of features of norm 1 per pixel."""
    return sum((F.normalize(a, dim=1) - F.normalize(b, dim=1)).abs().mean() for a, b in zip(vgg19(x), vgg19(y)))


def main(out):
    shape = (1, 3, SIDE, SIDE)
    saved = {}

    def add(name, inputs, loss):
        """Value, and gradients with respect to the inputs."""
        inputs = {key: tensor.clone().requires_grad_(True) for key, tensor in inputs.items()}
        value = loss(**inputs)
        value.backward()
        saved[f"{name}.value"] = value.detach().reshape(1)
        for key, tensor in inputs.items():
            saved[f"{name}.grad_{key}"] = tensor.grad
        print(name, value.item(), {key: float(tensor.grad.norm()) for key, tensor in inputs.items()})

    x, y = 0.8 * unit("losses.x", shape), 0.8 * unit("losses.y", shape)
    add("charbonnier", {"x": x}, lambda x: torch.sqrt((x - y) ** 2 + 0.1**2).mean())
    add("feature_l1", {"x": x}, lambda x: feature_l1(x, y))
    faint = 0.4 * unit("losses.y", shape)
    add("fdl2", {"x": x}, lambda x: fdl(x, faint))
    add("fdl2_ortho", {"x": x}, lambda x: fdl(x, faint, norm="ortho"))
    add("fdl2_phase", {"x": x}, lambda x: fdl(x, faint, PHASE))
    clip = (1, 3, FRAMES, SIDE, SIDE)
    x, faint = 0.8 * unit("losses.clip_x", clip), 0.4 * unit("losses.clip_y", clip)
    add("fdl3", {"x": x}, lambda x: fdl(x, faint))
    add("fdl3_ortho", {"x": x}, lambda x: fdl(x, faint, norm="ortho"))
    add("fdl3_phase", {"x": x}, lambda x: fdl(x, faint, PHASE))
    # Logits on both sides of the hinges.
    real, decoded = 2.0 * unit("losses.real", (2, 1, 6, 6)), 2.0 * unit("losses.decoded", (2, 1, 6, 6))
    hinge = lambda real, decoded: 0.5 * (F.relu(1 - real).mean() + F.relu(1 + decoded).mean())
    add("hinge_discriminator", {"real": real, "decoded": decoded}, hinge)
    add("hinge_generator", {"decoded": decoded}, lambda decoded: -decoded.mean())
    save_file({name: tensor.to(torch.float32).contiguous() for name, tensor in saved.items()}, out)


if __name__ == "__main__":
    main(sys.argv[1])
