"""Makes the cases of the VAE fixtures with diffusers in float64, and compares them with what the files hold.

    pip install torch diffusers safetensors numpy
    python tools/reference/vae_fixtures.py tests/fixtures [--write]

Everything is by formula (hash_weights.py), so there is no seed: weights under the names of the original layout, the latent of
the case NAME as 2 unit("latent.NAME"), its pixels as unit("pixels.NAME"). `original.safetensors` and `original_bf16.pth` must hold
just these weights, rounded. The tensors are those that tests/fixtures/README.md describes, stored as float32; exits with 1 where one
differs by more than that rounding. With --write they replace those in the files.
"""
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from safetensors.torch import load_file, save_file

from hash_weights import hash_tensor, unit

MODELS = {"vae_tiny_base": (8, 3), "vae_tiny_up2x": (8, 12), "vae_full_up2x": (96, 12)}
# Shapes of latents and of pixels, by case.
DECODE = {
    "clip": (1, 16, 3, 4, 5),
    "clip2": (1, 16, 2, 6, 3),
    "image": (1, 16, 1, 8, 6),
    "odd": (2, 16, 1, 5, 7),
    "wide": (1, 16, 1, 3, 19),
}
ENCODE = {
    "clip5": (1, 3, 5, 48, 32),
    "clip9": (1, 3, 9, 32, 40),
    "odd": (2, 3, 1, 40, 56),
    "square": (1, 3, 1, 64, 64),
}
FULL_DECODE = {"clip": (1, 16, 2, 4, 4), "image": (1, 16, 1, 10, 12)}
FULL_ENCODE = {"square": (1, 3, 1, 64, 48)}
# Relative to the norm: half a step of float32, and some room for another build of torch.
TOLERANCE = 2e-7


def names(fixtures):
    """Names of the original layout -> names of diffusers."""
    original = load_file(fixtures / "vae_tiny_base/original.safetensors")
    tagged = convert_wan_vae_to_diffusers({name: torch.full_like(t, i) for i, (name, t) in enumerate(original.items())})
    keys = list(original)
    return {keys[int(t.flatten()[0])]: name for name, t in tagged.items()}


def model(base_dim, out_channels, renamed):
    """The model with weights by formula, in float64, and these weights under their original names, in float32."""
    vae = AutoencoderKLWan(base_dim=base_dim, out_channels=out_channels)
    shapes = {name: t.shape for name, t in vae.state_dict().items()}
    weights = {original: hash_tensor(original, tuple(shapes[name])) for original, name in renamed.items()}
    vae.load_state_dict({renamed[original]: t for original, t in weights.items()}, strict=True)
    return vae.to(torch.float64).eval(), weights


def decode(vae, latent):
    """Raw latents to all output channels of the decoder, not clamped."""
    vae.clear_cache()
    x, frames = vae.post_quant_conv(latent), []
    for i in range(x.shape[2]):
        vae._conv_idx = [0]
        frame = x[:, :, i : i + 1]
        frames.append(vae.decoder(frame, feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=i == 0))
    return torch.cat(frames, 2)


def shuffle(raw):
    """[B, 3 r^2, F, h, w] -> [B, 3, F, r h, r w]."""
    r = int((raw.shape[1] / 3) ** 0.5)
    return torch.stack([torch.nn.functional.pixel_shuffle(raw[:, :, f], r) for f in range(raw.shape[2])], 2)


def normalized(vae, latent):
    """(raw - mean) / std, with the constants as the float32 numbers that a configuration holds."""
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    return (latent - mean) / std


@torch.no_grad()
def cases(vae, decoded, encoded):
    """Every tensor of a folder's cases, by name, in float64."""
    found = {}
    for name, shape in decoded.items():
        latent = 2 * torch.from_numpy(unit(f"latent.{name}", shape)).to(torch.float64)
        raw = decode(vae, latent)
        found[f"decode.{name}.latent"] = latent
        found[f"decode.{name}.latent_normalized"] = normalized(vae, latent)
        found[f"decode.{name}.raw"] = raw
        found[f"decode.{name}.pixels"] = shuffle(raw).clamp(-1, 1)
    for name, shape in encoded.items():
        pixels = torch.from_numpy(unit(f"pixels.{name}", shape)).to(torch.float64)
        latent = vae.encode(pixels).latent_dist.mode()
        found[f"encode.{name}.pixels"] = pixels
        found[f"encode.{name}.latent"] = latent
        found[f"encode.{name}.latent_normalized"] = normalized(vae, latent)
    return found


def check(what, got, want, tolerance):
    """Prints and returns whether two tensors agree."""
    error = float((got.to(torch.float64) - want.to(torch.float64)).norm() / want.to(torch.float64).norm())
    good = error <= tolerance
    print(f"{what}: {error:.2e}{'' if good else ', too much'}")
    return good


def check_weights(folder, weights):
    """The weight files beside the cases hold the formula's values."""
    good = True
    if (folder / "original.safetensors").exists():
        stored = load_file(folder / "original.safetensors")
        good &= stored.keys() == weights.keys() and all(torch.equal(stored[n], weights[n]) for n in weights)
        print(f"{folder.name}/original.safetensors: {'by formula' if good else 'NOT by formula'}")
    if (folder / "original_bf16.pth").exists():
        stored = torch.load(folder / "original_bf16.pth", weights_only=True)
        same = all(torch.equal(stored[n], weights[n].to(torch.bfloat16)) for n in weights)
        print(f"{folder.name}/original_bf16.pth: {'by formula' if same else 'NOT by formula'}")
        good &= same
    return good


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    fixtures, write = Path(sys.argv[1]), "--write" in sys.argv[2:]
    renamed, good = names(fixtures), True
    for folder, (base_dim, out_channels) in MODELS.items():
        file = fixtures / folder / "cases.safetensors"
        vae, weights = model(base_dim, out_channels, renamed)
        good &= check_weights(fixtures / folder, weights)
        sizes = (FULL_DECODE, FULL_ENCODE) if base_dim == 96 else (DECODE, ENCODE)
        found, stored = cases(vae, *sizes), load_file(file)
        if found.keys() != stored.keys():
            sys.exit(f"{file}: other tensors: {sorted(found.keys() ^ stored.keys())}")
        for name, value in found.items():
            good &= check(f"{folder} {name}", value, stored[name], TOLERANCE)
        if write:
            save_file({name: value.to(torch.float32).contiguous() for name, value in found.items()}, file)
    sys.exit(not good)


if __name__ == "__main__":
    main()
