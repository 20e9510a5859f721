"""Times training steps of PyTorch eager on the model and losses of `vae2x-bench step-time`.

    pip install torch diffusers numpy
    python tools/reference/bench_train.py BASE_DIM CROP BATCH STEPS [--device cuda] [--bf16] [--fdl-stages N] [--projections N]
        [--patch N] [--phase-weight X] [--lpips] [--vgg-crop N] [--no-gan]

Weights are random: they do not change the time. Single-frame convolutions as in diffusers (3-D, time padded) are replaced by
their 2-D form, as ours are. f32, or autocast to bf16. Prints JSON: seconds of each step, images per second without the first, and
peak memory.
"""
import argparse
import contextlib
import json
import resource
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders import autoencoder_kl_wan as wan

parser = argparse.ArgumentParser()
for name in ("base_dim", "crop", "batch", "steps"):
    parser.add_argument(name, type=int)
parser.add_argument("--fdl-stages", type=int, default=5)
parser.add_argument("--projections", type=int, default=64)
parser.add_argument("--patch", type=int, default=5)
parser.add_argument("--phase-weight", type=float, default=0.0)
parser.add_argument("--vgg-crop", type=int, default=0)
parser.add_argument("--lpips", action="store_true", help="in place of the L1 of VGG19's features")
parser.add_argument("--no-gan", action="store_true")
parser.add_argument("--device", default="cpu")
parser.add_argument("--bf16", action="store_true")
args = parser.parse_args()
torch.manual_seed(0)
torch.set_default_device(args.device)
cuda = args.device.startswith("cuda")
# Networks in bf16, losses in f32.
narrow = (lambda: torch.autocast(torch.device(args.device).type, torch.bfloat16)) if args.bf16 else contextlib.nullcontext


def last_tap(self, x, cache_x=None):
    """A causal convolution of one frame: only the last temporal tap acts."""
    weight, bias = self.weight[:, :, -1], self.bias
    return F.conv2d(x[:, :, 0], weight, bias, padding=weight.shape[-1] // 2)[:, :, None]


wan.WanCausalConv3d.forward = last_tap
vae = AutoencoderKLWan(base_dim=args.base_dim, out_channels=12).requires_grad_(False)
decoder = [p.requires_grad_(True) for m in (vae.decoder, vae.post_quant_conv) for p in m.parameters()]


def vgg(counts):
    stages, inputs = torch.nn.ModuleList(), 3
    for width, count in zip((64, 128, 256, 512, 512), counts):
        layers = []
        for _ in range(count):
            layers += [torch.nn.Conv2d(inputs, width, 3, padding=1), torch.nn.ReLU()]
            inputs = width
        stages.append(torch.nn.Sequential(*layers))
    return stages.requires_grad_(False)


def features(stages, x):
    out = []
    for i, stage in enumerate(stages):
        x = stage(F.max_pool2d(x, 2) if i else x)
        out.append(x)
    return out


vgg16 = vgg((2, 2, 3, 3, 3)) if args.lpips else None
vgg19 = vgg((2, 2, 4, 4, 4)[: args.fdl_stages])
channels = [3, 64, 128, 256, 512, 1]
layers = []
for i, (a, b) in enumerate(zip(channels, channels[1:])):
    layers.append(torch.nn.utils.spectral_norm(torch.nn.Conv2d(a, b, 4, stride=2 if i < 3 else 1, padding=1)))
    layers += [torch.nn.LeakyReLU(0.2)] if i < 4 else []
critic = torch.nn.Sequential(*layers)
g_adam, d_adam = torch.optim.AdamW(decoder, lr=1e-4), torch.optim.AdamW(critic.parameters(), lr=1e-4)
ema = [p.detach().clone() for p in decoder]


def unit(a):
    return a / (torch.sqrt((a**2).sum(1, keepdim=True) + 1e-20) + 1e-10)


kernels = [torch.randn(args.projections, c, args.patch, args.patch) for c in (64, 128, 256, 512, 512)]
kernels = [k / k.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for k in kernels]


def fdl(x, y):
    total = 0
    for a, b, kernel in zip(x, y, kernels):
        if min(a.shape[2:]) < args.patch:
            continue
        fa, fb = torch.fft.fftn(a, dim=(-2, -1)), torch.fft.fftn(b, dim=(-2, -1))
        parts = [(1, fa.abs(), fb.abs())]
        if args.phase_weight:
            parts.append((args.phase_weight, fa.angle(), fb.angle()))
        for weight, p, q in parts:
            p, q = (F.conv2d(m, kernel).flatten(2).sort(dim=2)[0] for m in (p, q))
            total = total + weight * (p - q).abs().mean()
    return 0.001 * total


def window(x):
    return x[:, :, : args.vgg_crop, : args.vgg_crop] if args.vgg_crop else x


def step(source, target):
    with torch.no_grad(), narrow():
        latent = vae.quant_conv(vae.encoder(source[:, :, None]))[:, :16]
    with narrow():
        decoded = F.pixel_shuffle(vae.decoder(vae.post_quant_conv(latent))[:, :, 0], 2)
    decoded = decoded.float()
    if not args.no_gan:
        d_adam.zero_grad()
        with narrow():
            real, false = critic(target), critic(decoded.detach())
        (0.5 * (((real.float() - 1) ** 2).mean() + (false.float() ** 2).mean())).backward()
        d_adam.step()
    loss = (decoded - target).abs().mean()
    x, y = window(decoded), window(target)
    if args.lpips:
        with narrow():
            pairs = list(zip(features(vgg16, x), features(vgg16, y)))
        pairs = [(a.float(), b.float()) for a, b in pairs]
        loss = loss + 0.05 * sum(((unit(a) - unit(b)) ** 2).sum(1).mean() for a, b in pairs)
    with narrow():
        deep = features(vgg19, x), features(vgg19, y)
    deep = [[a.float() for a in side] for side in deep]
    if not args.lpips:
        loss = loss + 0.1 * sum((unit(a) - unit(b)).abs().mean() for a, b in zip(*deep))
    loss = loss + fdl(*deep)
    if not args.no_gan:
        critic.requires_grad_(False)
        with narrow():
            judged = critic(decoded)
        loss = loss + 0.05 * ((judged.float() - 1) ** 2).mean()
        critic.requires_grad_(True)
    g_adam.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(decoder, 1.0)
    g_adam.step()
    with torch.no_grad():
        for mean, p in zip(ema, decoder):
            mean.lerp_(p, 0.001)


source, target = torch.rand(args.batch, 3, args.crop // 2, args.crop // 2), torch.rand(args.batch, 3, args.crop, args.crop)
seconds = []
for _ in range(args.steps):
    start = time.perf_counter()
    step(source * 2 - 1, target * 2 - 1)
    if cuda:
        torch.cuda.synchronize()
    seconds.append(time.perf_counter() - start)
rate = args.batch * len(seconds[1:]) / sum(seconds[1:]) if args.steps > 1 else args.batch / seconds[0]
line = {
    "what": "step",
    "engine": "PyTorch eager",
    "device": torch.cuda.get_device_name() if cuda else args.device,
    "dtype": "bf16" if args.bf16 else "f32",
    "base_dim": args.base_dim,
    "crop": args.crop,
    "batch": args.batch,
    "seconds": [round(s, 4) for s in seconds],
    "images_per_second": round(rate, 3),
    "device_mb": torch.cuda.max_memory_reserved() // 1_000_000 if cuda else None,
    "process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 1_000_000,
}
print(json.dumps(line))
