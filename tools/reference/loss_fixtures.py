"""Makes the cases of the fixture `losses` in float64, and compares them with what the file holds.

    pip install torch safetensors numpy
    python tools/reference/loss_fixtures.py tests/fixtures

Everything is by formula (hash_weights.py), so there is no seed: x is unit("loss.x"), y is 0.8 x + 0.2 unit("loss.y"), networks have
gain sqrt 2 under torchvision's names after "vgg16." or "vgg19.", and "disc.N." for the discriminator; only the heads of LPIPS are
the published ones, from crates/nn/assets. The losses are written here from their formulas (tests/fixtures/README.md). Exits with 1
where a tensor differs by more than its rounding to float32; what has angles in it, which jump, may differ by more.
"""
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from hash_weights import hash_tensor, unit

DOUBLE = torch.float64
GAIN = math.sqrt(2)
VGG16 = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
VGG19 = [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)]
PROJECTIONS, PATCH, PHASE = 8, 3, 0.01
# Relative to the norm: half a step of float32, and some room for another build of torch.
TOLERANCE = 2e-7
# An angle near the cut may fall on its other side.
ANGLE_TOLERANCE = 5e-3


def formula(key, shape):
    return hash_tensor(key, shape, GAIN).to(DOUBLE)


def drawn(key, shape):
    return torch.from_numpy(unit(key, shape)).to(DOUBLE)


def per_channel(values):
    return torch.tensor(values, dtype=DOUBLE).view(1, 3, 1, 1)


def vgg(name, stages, x):
    """The output of the last ReLU of each stage."""
    features, index, inputs = [], 0, 3
    for i, (width, convs) in enumerate(stages):
        x = F.max_pool2d(x, 2) if i else x
        for _ in range(convs):
            key = f"{name}.features.{index}"
            x = F.relu(F.conv2d(x, formula(f"{key}.weight", (width, inputs, 3, 3)), formula(f"{key}.bias", (width,)), padding=1))
            index, inputs = index + 2, width
        index += 1
        features.append(x)
    return features


def vgg19(x):
    return vgg("vgg19", VGG19, ((x + 1) / 2 - per_channel([0.485, 0.456, 0.406])) / per_channel([0.229, 0.224, 0.225]))


def normalized(a, epsilon):
    return a / (a.square().sum(1, keepdim=True).sqrt() + epsilon)


def lpips(x, y, heads):
    """Per image."""
    shift, scale = per_channel([-0.030, -0.088, -0.188]), per_channel([0.458, 0.448, 0.450])
    a, b = (vgg("vgg16", VGG16, (image - shift) / scale) for image in (x, y))
    total = 0
    for i, (p, q) in enumerate(zip(a, b)):
        difference = (normalized(p, 1e-10) - normalized(q, 1e-10)).square()
        total = total + F.conv2d(difference, heads[f"lin{i}.weight"].to(DOUBLE)).mean((1, 2, 3))
    return total


def projections(layer, channels):
    kernel = drawn(f"fdl.proj.{layer}", (PROJECTIONS, channels, PATCH, PATCH))
    return kernel / kernel.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def fdl(x, y):
    """Per layer the distances of amplitudes and of angles, per image."""
    parts = []
    for layer, (a, b) in enumerate(zip(vgg19(x), vgg19(y))):
        kernel = projections(layer, a.shape[1])
        a, b = torch.fft.fftn(a, dim=(-2, -1)), torch.fft.fftn(b, dim=(-2, -1))

        def distance(p, q):
            p, q = (F.conv2d(m, kernel).flatten(2).sort(dim=2)[0] for m in (p, q))
            return (p - q).abs().mean((1, 2))

        parts.append((distance(a.abs(), b.abs()), distance(a.angle(), b.angle())))
    return parts


class Discriminator:
    """Five convolutions with spectral norm, as torch's."""

    def __init__(self):
        channels = [3, 16, 32, 64, 128, 1]
        self.weights = [formula(f"disc.{i}.weight", (b, a, 4, 4)) for i, (a, b) in enumerate(zip(channels, channels[1:]))]
        self.biases = [formula(f"disc.{i}.bias", (b,)) for i, b in enumerate(channels[1:])]
        self.u = [F.normalize(drawn(f"disc.{i}.u", (b,)), dim=0) for i, b in enumerate(channels[1:])]
        self.v = [None] * 5

    def iterate(self):
        for i, weight in enumerate(self.weights):
            matrix = weight.flatten(1)
            self.v[i] = F.normalize(matrix.T @ self.u[i], dim=0)
            self.u[i] = F.normalize(matrix @ self.v[i], dim=0)

    def __call__(self, x):
        for i, stride in enumerate([2, 2, 2, 1, 1]):
            weight = self.weights[i] / (self.u[i] @ self.weights[i].flatten(1) @ self.v[i])
            x = F.conv2d(x, weight, self.biases[i], stride=stride, padding=1)
            x = F.leaky_relu(x, 0.2) if i < 4 else x
        return x


def gradient(value, x):
    return torch.autograd.grad(value.sum(), x, retain_graph=True)[0]


def cases(heads):
    shape = (2, 3, 64, 64)
    x = drawn("loss.x", shape).requires_grad_(True)
    y = 0.8 * x.detach() + 0.2 * drawn("loss.y", shape)
    found = {"x": x.detach(), "y": y}

    found["lpips_vgg16.value"] = lpips(x, y, heads)
    found["lpips_vgg16.grad_x"] = gradient(found["lpips_vgg16.value"], x)

    parts = fdl(x, y)
    for layer, (amplitude, angle) in enumerate(parts):
        found |= {f"fdl.layer{layer}.amplitude": amplitude, f"fdl.layer{layer}.phase": angle}
    found["fdl.value"] = 0.001 * sum(amplitude + PHASE * angle for amplitude, angle in parts)
    found["fdl.grad_x"] = gradient(found["fdl.value"], x)
    found["fdl_amplitude.value"] = 0.001 * sum(amplitude for amplitude, _ in parts)
    found["fdl_amplitude.grad_x"] = gradient(found["fdl_amplitude.value"], x)
    found |= {f"fdl.proj.{layer}": projections(layer, channels) for layer, channels in enumerate([64, 128])}

    pairs = zip(vgg19(x), vgg19(y))
    found["vgg19_feature_l1.value"] = sum((normalized(a, 1e-10) - normalized(b, 1e-10)).abs().mean((1, 2, 3)) for a, b in pairs)

    critic = Discriminator()
    found |= {f"disc.{i}.u": u for i, u in enumerate(critic.u)}
    critic.iterate()
    logits = critic(x)
    found["disc.logits_x"] = logits
    found["gan.generator_loss"] = (logits - 1).square().mean().view(1)
    found["gan.generator_grad_x"] = gradient(found["gan.generator_loss"], x)
    found["gan.discriminator_loss_eval"] = (((critic(y) - 1).square().mean() + critic(x).square().mean()) / 2).view(1)
    return {name: value.detach() for name, value in found.items()}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    heads = load_file(Path(__file__).parents[2] / "crates/nn/assets/lpips_vgg_v0.1.safetensors")
    stored, found = load_file(Path(sys.argv[1]) / "losses/cases.safetensors"), cases(heads)
    if found.keys() != stored.keys():
        sys.exit(f"other tensors: {sorted(found.keys() ^ stored.keys())}")
    good = True
    for name, value in found.items():
        want = stored[name].to(DOUBLE)
        error = float((value - want).norm() / want.norm())
        has_angles = name in ("fdl.value", "fdl.grad_x") or name.endswith(".phase")
        fits = error <= (ANGLE_TOLERANCE if has_angles else TOLERANCE)
        good &= fits
        print(f"{name}: {error:.2e}{'' if fits else ', too much'}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
