"""Trains a tiny 2x decoder for ten steps in float64: the fixture of crates/train/tests/parity.rs.

    python tools/reference/train_parity.py FIXTURES OUT.safetensors

FIXTURES holds `vae_tiny_base` and `losses`. Needs torch, diffusers, safetensors, numpy. Everything random is by formula, so that
the script has no seed: weights of VGG and discriminator, projections and pictures follow from their names. The model is
diffusers' own; losses, spectral norm and loop are written here from their formulas; the optimizer is torch's.
"""
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file

STEPS, BATCH, CROP = 10, 2, 64
WEIGHTS = {"l1": 1.0, "lpips": 0.1, "feature_l1": 0.05, "fdl": 0.5}
GAN_WEIGHT, GAN_START, GAN_WARMUP, GAN_RAMP, GAN_WIDTH, GAN_LR, GAN_BETAS = 0.3, 2, 1, 3, 8, 2e-4, (0.5, 0.9)
BIRTH_ITERATIONS = 20
LR, LR_MIN, WARMUP, CLIP, DECAY = 1e-3, 1e-5, 3, 1.0, 0.01
PROJECTIONS, PATCH, PHASE = 4, 3, 0.01
DOUBLE = torch.float64
torch.set_default_dtype(DOUBLE)


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
    return (z.astype(np.float64) / 2.0**23 - 1.0).astype(np.float32).reshape(shape)


def formula(key, shape):
    u = unit(key, shape)
    scale = 0.05 if key.endswith("bias") else math.sqrt(2) * math.sqrt(3 / math.prod(shape[1:]))
    return torch.from_numpy(np.float32(scale) * u).to(DOUBLE)


class Vgg:
    def __init__(self, name, stages):
        self.stages, index, inputs = [], 0, 3
        for width, convs in stages:
            stage = []
            for _ in range(convs):
                key = f"{name}.features.{index}"
                stage.append((formula(key + ".weight", (width, inputs, 3, 3)), formula(key + ".bias", (width,))))
                index, inputs = index + 2, width
            index += 1
            self.stages.append(stage)

    def __call__(self, x):
        mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        x, features = ((x + 1) / 2 - mean) / std, []
        for i, stage in enumerate(self.stages):
            x = F.max_pool2d(x, 2) if i else x
            for weight, bias in stage:
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            features.append(x)
        return features


def normalized(a):
    return a / (torch.sqrt((a**2).sum(1, keepdim=True) + 1e-20) + 1e-10)


def fdl(x, y, step):
    total = 0
    for i, (a, b) in enumerate(zip(x, y)):
        kernel = torch.from_numpy(unit(f"fdl.proj.{step}.{i}", (PROJECTIONS, a.shape[1], PATCH, PATCH))).to(DOUBLE)
        kernel = kernel / kernel.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        fa, fb = torch.fft.fftn(a, dim=(-2, -1)), torch.fft.fftn(b, dim=(-2, -1))

        def distance(p, q):
            p, q = (F.conv2d(m, kernel).flatten(2).sort(dim=2)[0] for m in (p, q))
            return (p - q).abs().mean()

        total = total + distance(fa.abs(), fb.abs()) + PHASE * distance(fa.angle(), fb.angle())
    return 0.001 * total


class Critic:
    def __init__(self):
        channels = [3, GAN_WIDTH, 2 * GAN_WIDTH, 4 * GAN_WIDTH, 8 * GAN_WIDTH, 1]
        self.parameters, self.u, self.v = [], [], []
        for i, (a, b) in enumerate(zip(channels, channels[1:])):
            key = f"0.discriminator.{i}"
            self.parameters += [formula(key + ".weight", (b, a, 4, 4)), formula(key + ".bias", (b,))]
            u = torch.from_numpy(unit(key + ".u", (b,))).to(DOUBLE)
            self.u.append(u / u.norm())
            self.v.append(None)
        for p in self.parameters:
            p.requires_grad_(True)
        for _ in range(BIRTH_ITERATIONS):
            self.iterate()

    @torch.no_grad()
    def iterate(self):
        for i in range(5):
            w = self.parameters[2 * i].flatten(1)
            self.v[i] = F.normalize(w.T @ self.u[i], dim=0)
            self.u[i] = F.normalize(w @ self.v[i], dim=0)

    def __call__(self, x):
        for i, stride in enumerate([2, 2, 2, 1, 1]):
            w, b = self.parameters[2 * i : 2 * i + 2]
            x = F.conv2d(x, w / (self.u[i] @ w.flatten(1) @ self.v[i]), b, stride=stride, padding=1)
            x = F.leaky_relu(x, 0.2) if i < 4 else x
        return x


def picture(kind, step, side):
    """Noise at two scales."""
    coarse = torch.from_numpy(unit(f"parity.{kind}.coarse.{step}", (BATCH, 3, side // 8, side // 8))).to(DOUBLE)
    fine = torch.from_numpy(unit(f"parity.{kind}.fine.{step}", (BATCH, 3, side, side))).to(DOUBLE)
    return 0.7 * coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) + 0.2 * fine


def learning_rate(step, lr):
    if step < WARMUP:
        return lr * (step + 1) / WARMUP
    least = LR_MIN * lr / LR
    return least + (lr - least) * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def decode(vae, latent):
    vae.clear_cache()
    x = vae.post_quant_conv(latent)
    vae._conv_idx = [0]
    x = vae.decoder(x, feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=True)
    return F.pixel_shuffle(x[:, :, 0], 2)


def canonical_names(fixtures):
    """Names of the original layout by those of diffusers: tensors of the two files that are equal."""
    original = load_file(fixtures / "vae_tiny_base/original.safetensors")
    diffusers = load_file(fixtures / "vae_tiny_base/diffusers/diffusion_pytorch_model.safetensors")
    bytes_of = {(tuple(t.shape), t.numpy().tobytes()): name for name, t in original.items()}
    return {name: bytes_of[tuple(t.shape), t.numpy().tobytes()] for name, t in diffusers.items()}


def main(fixtures, out):
    names = canonical_names(fixtures)
    vae = AutoencoderKLWan.from_pretrained(fixtures / "vae_tiny_base/diffusers").to(DOUBLE)
    head = vae.decoder.conv_out
    head.weight = torch.nn.Parameter(head.weight.detach().repeat_interleave(4, 0))
    head.bias = torch.nn.Parameter(head.bias.detach().repeat_interleave(4, 0))
    vae.requires_grad_(False)
    trained = {}
    for name, p in vae.named_parameters():
        if name.startswith(("decoder.", "post_quant_conv.")):
            trained[names[name]] = p.requires_grad_(True)
    deep = [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)]
    vgg16, vgg19 = Vgg("vgg16", [(w, min(n, 3)) for w, n in deep]), Vgg("vgg19", deep)
    heads = load_file(fixtures / "losses/lpips_vgg_lin_v0.1.safetensors")
    heads = [heads[f"lin{i}.weight"].to(DOUBLE) for i in range(5)]
    critic = Critic()
    adam = lambda p, betas: torch.optim.AdamW(p, betas=betas, eps=1e-8, weight_decay=DECAY)
    g_adam, d_adam = adam(trained.values(), (0.9, 0.99)), adam(critic.parameters, GAN_BETAS)
    log, saved = {}, {}
    for step in range(STEPS):
        target, source = picture("target", step, CROP), picture("input", step, CROP // 2)
        with torch.no_grad():
            latent = vae.encode(source[:, :, None]).latent_dist.mean
        decoded = decode(vae, latent)
        values = {}
        if step >= GAN_START:
            critic.iterate()
            real, fake = critic(target), critic(decoded.detach())
            d_loss = 0.5 * (((real - 1) ** 2).mean() + (fake**2).mean())
            d_adam.zero_grad()
            d_loss.backward()
            d_adam.param_groups[0]["lr"] = learning_rate(step, GAN_LR)
            d_adam.step()
            values.update(d_loss=d_loss, d_real=real.mean(), d_decoded=fake.mean())
        losses = {"l1": (decoded - target).abs().mean()}
        losses["lpips"] = sum(
            (head * (normalized(a) - normalized(b)) ** 2).sum(1).mean()
            for head, a, b in zip(heads, vgg16(decoded), vgg16(target))
        )
        x, y = vgg19(decoded), vgg19(target)
        losses["feature_l1"] = sum((normalized(a) - normalized(b)).abs().mean() for a, b in zip(x, y))
        losses["fdl"] = fdl(x, y, step)
        total = sum(WEIGHTS[name] * loss for name, loss in losses.items())
        values.update(losses, loss=total)
        alone = GAN_START + GAN_WARMUP
        if step >= alone:
            values["gan"] = ((critic(decoded) - 1) ** 2).mean()
            last = lambda loss: torch.autograd.grad(loss, head.weight, retain_graph=True)[0][:, :, -1].norm()
            ratio = float(last(total) / (last(values["gan"]) + 1e-4))
            values["gan_weight"] = GAN_WEIGHT * min(1, (step - alone + 1) / (GAN_RAMP + 1)) * ratio
            total = total + values["gan_weight"] * values["gan"]
        g_adam.zero_grad()
        total.backward()
        if step == 0:
            # Of the causal kernels only the last temporal tap has a gradient.
            for name, p in trained.items():
                if p.grad is not None:
                    grad = p.grad[:, :, -1] if p.dim() == 5 else p.grad
                    saved[f"gradient.{name}"] = grad.to(torch.float32).contiguous()
        values["grad_norm"] = torch.nn.utils.clip_grad_norm_(list(trained.values()), CLIP)
        g_adam.param_groups[0]["lr"] = learning_rate(step, LR)
        g_adam.step()
        for name, value in values.items():
            log.setdefault(name, [float("nan")] * STEPS)[step] = float(value)
        print(step, {name: round(float(value), 5) for name, value in values.items()}, flush=True)
    saved.update({f"log.{name}": torch.tensor(row, dtype=torch.float32) for name, row in log.items()})
    save_file(saved, out)


main(Path(sys.argv[1]), sys.argv[2])
