"""Makes tests/data/public/weights/rgba_layered_decoded.safetensors: layers decoded, and an image encoded, by diffusers in float64.

    pip install torch diffusers safetensors
    cargo run --release -- convert tests/data/public/weights/rgba_layered.safetensors -o DIR --layout diffusers --dtype f32
    python tools/reference/rgba_fixture.py DIR OUT.safetensors

As the pipeline of Qwen-Image-Layered does it, each layer is an image of its own. `latent` is raw, [1, 16, L, h, w], `pixels` is
[L, 4, 1, 8h, 8w] in [-1, 1], `encoded` the mean of the raw latent of `pixels`' first layer.
"""
import sys

import torch
from diffusers import AutoencoderKLQwenImage
from safetensors.torch import save_file

LAYERS, HEIGHT, WIDTH = 3, 5, 4

folder, out = sys.argv[1:]
vae = AutoencoderKLQwenImage.from_pretrained(folder).double().eval()
assert vae.config.input_channels == 4, vae.config
generator = torch.Generator().manual_seed(7)
latent = torch.randn(1, 16, LAYERS, HEIGHT, WIDTH, generator=generator).float()
with torch.no_grad():
    items = latent.double().permute(0, 2, 1, 3, 4).reshape(LAYERS, 16, 1, HEIGHT, WIDTH)
    pixels = vae.decode(items).sample
    encoded = vae.encode(pixels[:1]).latent_dist.mode()
print("pixels", tuple(pixels.shape), "from", pixels.min().item(), "to", pixels.max().item())
save_file({"latent": latent, "pixels": pixels.float().contiguous(), "encoded": encoded.float().contiguous()}, out)
