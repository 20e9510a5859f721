"""Makes the cases of the fixtures `dit_tiny` and `umt5_tiny` in float64, and compares them with what the files hold.

    pip install torch diffusers transformers safetensors numpy
    python tools/reference/transformer_fixtures.py tests/fixtures

Everything but the token ids is by formula (hash_weights.py), so there is no seed: weights are those of "dit." and diffusers' name, or
of "umt5." and transformers' name, norms as `gamma`; the latent and text of the case NAME are unit("dit.NAME") and
unit("dit.NAME.text"). Weights and cases in the files must hold just these. Exits with 1 where a tensor differs by more than its
rounding to float32.
"""
import sys
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file
from transformers import UMT5Config, UMT5EncoderModel

from hash_weights import hash_tensor, unit

TIMESTEP = 237.5
# Relative to the norm: half a step of float32, and some room for another build of torch.
TOLERANCE = 2e-7
DOUBLE = torch.float64


def formula(prefix, name, shape):
    """The tensor `name`: weights of norms have one dimension and are drawn as `gamma`."""
    is_norm = name.endswith("weight") and len(shape) == 1
    u = torch.from_numpy(unit(f"{prefix}.{name}", shape))
    return 1 + 0.1 * u if is_norm else hash_tensor(f"{prefix}.{name}", shape)


def check(what, got, want):
    """Prints and returns whether two tensors agree."""
    got, want = got.to(DOUBLE), want.to(DOUBLE)
    error = float((got - want).norm() / want.norm())
    good = error <= TOLERANCE
    print(f"{what}: {error:.2e}{'' if good else ', too much'}")
    return good


def check_weights(what, prefix, stored):
    """The stored weights are those of the formula; the worst of them is printed."""
    errors = {}
    for name, tensor in stored.items():
        want = formula(prefix, name, tuple(tensor.shape)).to(DOUBLE)
        errors[name] = float((tensor.to(DOUBLE) - want).norm() / want.norm())
    worst = max(errors, key=errors.get)
    good = errors[worst] <= TOLERANCE
    print(f"{what}, the worst of {len(errors)} weights, {worst}: {errors[worst]:.2e}{'' if good else ', too much'}")
    return good


@torch.no_grad()
def transformer(fixtures):
    """Wan2.1's transformer: latent, text and timestep give the velocity."""
    folder = fixtures / "dit_tiny"
    weights = load_file(folder / "diffusers/diffusion_pytorch_model.safetensors")
    good = check_weights("dit_tiny", "dit", weights)
    model = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(folder / "diffusers"))
    model.load_state_dict(weights)
    model = model.to(DOUBLE).eval()
    cases = load_file(folder / "cases.safetensors")
    for name in ("image", "clip"):
        latent, text, timestep = (cases[f"{name}.{part}"] for part in ("latent", "text", "timestep"))
        good &= check(f"dit_tiny {name}.latent", torch.from_numpy(unit(f"dit.{name}", tuple(latent.shape))), latent)
        good &= check(f"dit_tiny {name}.text", torch.from_numpy(unit(f"dit.{name}.text", tuple(text.shape))), text)
        good &= check(f"dit_tiny {name}.timestep", torch.full((1,), TIMESTEP), timestep)
        velocity = model(latent.to(DOUBLE), timestep.to(DOUBLE), text.to(DOUBLE), return_dict=False)[0]
        good &= check(f"dit_tiny {name}.velocity", velocity, cases[f"{name}.velocity"])
    return good


@torch.no_grad()
def encoder(fixtures):
    """UMT5's encoder: ids and mask give hidden states, zero where masked."""
    folder = fixtures / "umt5_tiny"
    weights = load_file(folder / "model.safetensors")
    good = check_weights("umt5_tiny", "umt5", weights)
    model = UMT5EncoderModel(UMT5Config.from_pretrained(folder)).eval()
    missing = model.load_state_dict(weights, strict=False)
    if missing.unexpected_keys:
        sys.exit(f"umt5_tiny: {missing}")
    model = model.to(DOUBLE)
    cases = load_file(folder / "cases.safetensors")
    mask = cases["attention_mask"]
    hidden = model(input_ids=cases["input_ids"], attention_mask=mask).last_hidden_state * mask.unsqueeze(2)
    return good & check("umt5_tiny hidden", hidden, cases["hidden"])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    fixtures = Path(sys.argv[1])
    good = transformer(fixtures)
    good &= encoder(fixtures)
    sys.exit(not good)


if __name__ == "__main__":
    main()
