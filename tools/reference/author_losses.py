"""Runs the published code of the frequency distribution loss on the inputs of losses.py, and prints how far it is from the goldens.

    git clone https://github.com/spacepxl/FDLPIPS; git clone https://github.com/eezkni/FDL
    python tools/reference/author_losses.py tests/fixtures/losses.safetensors --fdlpips FDLPIPS --fdl FDL

Needs torch, safetensors, numpy. The code stays where it is; it runs in float64, on VGG19's weights and random kernels by formula, and
on the stages that the goldens have. torchvision, which it takes the network from, is stood in for, so that nothing is downloaded.
Prints a line for each golden: relative L2 errors of value and gradient. What is left is mostly the rounding of ImageNet's means, which
that code keeps in float32. Exits with 1 if a value is off by more than 1e-6 or a gradient by more than 1e-4.
"""
import argparse
import importlib
import sys
import types

import torch
from safetensors.torch import load_file

from losses import FRAMES, PATCH, PHASE, PROJECTIONS, SIDE, formula, unit

WIDTHS = [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)]
DOUBLE = torch.float64
TOLERANCES = 1e-6, 1e-4


def vgg19(**_):
    """torchvision's network, with weights by formula."""
    layers, inputs = [], 3
    for width, convs in WIDTHS:
        for _ in range(convs):
            conv = torch.nn.Conv2d(inputs, width, 3, padding=1)
            key = f"vgg19.features.{len(layers)}"
            for name, parameter in conv.named_parameters():
                parameter.data = formula(f"{key}.{name}", tuple(parameter.shape)).to(torch.float32)
            layers += [conv, torch.nn.ReLU()]
            inputs = width
        layers.append(torch.nn.MaxPool2d(2))
    return types.SimpleNamespace(features=torch.nn.Sequential(*layers))


def stand_in():
    """torchvision with nothing but vgg19: other names are asked for and not used."""
    weights = types.SimpleNamespace(DEFAULT=None)
    names = ["resnet101", "inception_v3", "efficientnet_b7", "VGG19_Weights", "ResNet101_Weights", "Inception_V3_Weights"]
    models = types.ModuleType("torchvision.models")
    for name in names + ["EfficientNet_B7_Weights"]:
        setattr(models, name, weights)
    models.vgg = types.SimpleNamespace(vgg19=vgg19)
    models.vgg19 = vgg19
    torchvision = types.ModuleType("torchvision")
    torchvision.models = models
    sys.modules.update({"torchvision": torchvision, "torchvision.models": models})


class First(torch.nn.Module):
    """The first stages of the author's network."""

    def __init__(self, model, stages):
        super().__init__()
        self.model, self.chns = model, model.chns[:stages]

    def forward(self, x):
        return self.model(x)[: len(self.chns)]


def prepared(loss, axes, stages):
    loss.model = First(loss.model, stages)
    for i, channels in enumerate(loss.model.chns):
        kernel = unit(f"fdl{axes}.proj.{i}", (PROJECTIONS, channels) + (PATCH,) * axes)
        setattr(loss, f"rand_{i}", kernel / kernel.flatten(1).norm(dim=1).view([-1] + [1] * (axes + 1)))
    return loss.to(DOUBLE)


def relative(got, want):
    return float((got - want).norm() / want.norm())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("goldens")
    parser.add_argument("--fdlpips", required=True, help="the folder of spacepxl/FDLPIPS")
    parser.add_argument("--fdl", required=True, help="the folder of eezkni/FDL")
    args = parser.parse_args()
    stand_in()
    sys.path[:0] = [args.fdlpips, args.fdl]
    fdlpips, official = (importlib.import_module(name) for name in ("FDLPIPS.FDLPIPS", "FDL_pytorch.FDL"))
    goldens = {name: tensor.to(DOUBLE) for name, tensor in load_file(args.goldens).items()}
    image, clip = (1, 3, SIDE, SIDE), (1, 3, FRAMES, SIDE, SIDE)
    inputs = {2: ("losses.x", "losses.y", image), 3: ("losses.clip_x", "losses.clip_y", clip)}
    agree = True

    def compare(code, golden, axes, contrast, loss):
        nonlocal agree
        x_name, y_name, shape = inputs[axes]
        x = (0.8 * unit(x_name, shape)).requires_grad_(True)
        value = loss(x, contrast * unit(y_name, shape))
        value.backward()
        errors = relative(value.detach(), goldens[f"{golden}.value"][0]), relative(x.grad, goldens[f"{golden}.grad_x"])
        agree &= all(error <= tolerance for error, tolerance in zip(errors, TOLERANCES))
        print(f"{code:12} {golden:12} value {errors[0]:.1e}  gradient {errors[1]:.1e}")

    options = {"num_proj": PROJECTIONS, "image_range": [-1.0, 1.0]}
    for axes, kind in ((2, fdlpips.FDLPIPS_2D), (3, fdlpips.FDLPIPS_3D)):
        plain = prepared(kind(phase_weight=0.0, **options), axes, 3)
        angled = prepared(kind(phase_weight=PHASE, **options), axes, 1)
        compare("FDLPIPS", f"fdl{axes}", axes, 0.4, lambda x, y: plain(x, y)[0])
        compare("FDLPIPS", f"fdl{axes}_phase", axes, 0.4, lambda x, y: angled(x, y)[0])
    plain = prepared(fdlpips.FDLPIPS_2D(phase_weight=0.0, **options), 2, 3)
    compare("FDLPIPS", "feature_l1", 2, 0.8, lambda x, y: plain(x, y)[1])
    # Images in [0, 1], and no factor.
    for golden, phase, stages in (("fdl2", 0.0, 3), ("fdl2_phase", PHASE, 1)):
        loss = prepared(official.FDL_loss(num_proj=PROJECTIONS, phase_weight=phase), 2, stages)
        compare("FDL", golden, 2, 0.4, lambda x, y: 0.001 * loss((x + 1) / 2, (y + 1) / 2))
    sys.exit(not agree)


main()
