"""Reference values of the metrics: the fixture of tests/cli/metrics.rs, and the constants in crates/measure/src/metrics/ssim.rs.

    pip install scikit-image scipy torch torchvision lpips pytorch-msssim colour-science pillow
    python tools/reference/metrics.py tests/fixtures/metrics.json

PSNR and SSIM are scikit-image's, MS-SSIM pytorch-msssim's, CIEDE2000 colour-science's, LPIPS the lpips package's network and heads in
float64 with VGG16's weights by formula, sharpness scipy's Laplacian. Images are the repository's photos and constants; what is done
to them is integer arithmetic and noise by formula, so that there is no seed and every language gets the same bytes.
"""
import json
import math
import sys
import warnings
from pathlib import Path

import colour
import lpips
import numpy as np
import torch
from PIL import Image
from pytorch_msssim import ms_ssim
from scipy.ndimage import laplace
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

PHOTOS = Path(__file__).parents[2] / "crates/cli/assets/photos"
warnings.filterwarnings("ignore")


def unit(key: str, count: int) -> np.ndarray:
    """vae2x_core::weights::formula::unit."""
    seed = 0xCBF29CE484222325
    for byte in key.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = (z ^ (z >> np.uint64(31))) >> np.uint64(40)
    return (z.astype(np.float64) / 2.0**23 - 1.0).astype(np.float32)


def vgg_by_formula(network: torch.nn.Module) -> None:
    """Uniform weights that keep the variance through ReLU, and small biases, named as torchvision names them."""
    for name, parameter in network.net.named_parameters():
        index, part = name.split(".")[1:]
        values = torch.from_numpy(unit(f"vgg16.features.{index}.{part}", parameter.numel())).double()
        fan_in = parameter[0].numel()
        gain = 0.05 if part == "bias" else np.float32(math.sqrt(2)) * math.sqrt(3 / fan_in)
        parameter.data = (values * float(gain)).float().double().reshape(parameter.shape)


def blurred(x):
    down = np.concatenate([x[1:], x[-1:]])
    right = lambda v: np.concatenate([v[:, 1:], v[:, -1:]], 1)
    return (x + down + right(x) + right(down) + 2) // 4


def noisy(x):
    noise = np.floor((unit("metrics.noise", x.size).astype(np.float64) + 1) * 8).astype(int) - 8
    return np.clip(x + noise.reshape(3, *x.shape[:2]).transpose(1, 2, 0), 0, 255)


def tinted(x):
    return np.clip(np.stack([x[..., 0] * 15 // 16 + 12, x[..., 1], x[..., 2] * 17 // 16], -1), 0, 255)


def values(x, y, network=None):
    """Of `y` against `x`, both integers of 0 to 255, [H, W, 3]; LPIPS, which takes the test long, if there is a network."""
    a, b = x / 255.0, y / 255.0
    lab = [colour.XYZ_to_Lab(colour.sRGB_to_XYZ(v), colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"]["D65"]) for v in (a, b)]
    difference = colour.delta_E(*lab, method="CIE 2000")
    batch = lambda v: torch.from_numpy(v.transpose(2, 0, 1)[None].copy())
    with torch.no_grad():
        result = {
            "psnr": peak_signal_noise_ratio(a, b, data_range=1.0),
            "ssim": structural_similarity(a, b, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0),
            "ms_ssim": ms_ssim(batch(b), batch(a), data_range=1.0).item(),
            "ciede2000": difference.mean(),
            "ciede2000_p95": np.percentile(difference, 95),
            "sharpness": laplace(y @ np.array([0.299, 0.587, 0.114]))[1:-1, 1:-1].var(),
        }
        if network is not None:
            result["lpips"] = network(batch(a * 2 - 1), batch(b * 2 - 1)).item()
    return result


def ssim_of_formulas():
    def ssim(x, y):
        x, y = (np.clip((v.astype(np.float64) + 1) / 2, 0, 1).reshape(3, 16, 20) for v in (x, y))
        return structural_similarity(x, y, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)

    a, b = unit("a", 960), unit("b", 960)
    print("MIXED", ssim(a, np.float32(0.8) * a + np.float32(0.2) * b))
    print("DARKER", ssim(a, np.float32(0.5) * a - np.float32(0.4)))
    print("UNRELATED", ssim(a, b))


def main():
    torch.set_default_dtype(torch.float64)
    network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).double().eval()
    vgg_by_formula(network)
    results = {}
    for name, own in (("chelsea", network), ("coffee", None)):
        x = np.asarray(Image.open(PHOTOS / f"{name}.png").convert("RGB")).astype(int)
        results[name] = {f.__name__: values(x, f(x), own) for f in (blurred, noisy, tinted)}
    flat = lambda rgb: np.broadcast_to(rgb, (176, 192, 3)).astype(int)
    results["constant"] = {"other": values(flat([120, 130, 140]), flat([122, 127, 150]), network)}
    Path(sys.argv[1]).write_text(json.dumps(results, indent=1) + "\n")
    ssim_of_formulas()


main()
