"""How strong a stand-in for a diffusion model's softness has to be, from the spectrum of normalized latents.

    python tools/reference/degradation_strength.py LATENTS.safetensors

LATENTS has a tensor [B, 16, T, h, w] of normalized latents. Needs torch and safetensors.

A flow model that denoises x_t = (1 - t) x0 + t e in one step can at best keep S / (S + N) of the power of a frequency, where S is
the latent's power there and N = (t / (1 - t))^2 that of the noise after division by 1 - t: the optimal linear denoiser. Its output's
power is compared with a Gaussian's of `blur * t` cells, and the power of its error with white noise's, `(noise * t)^2`.
"""
import sys

import torch
from safetensors.torch import load_file

TIMES = (0.03, 0.06, 0.12, 0.2)
BLURS = (1.0, 1.5, 2.0, 2.5, 3.0, 6.0)


def spectrum(frames):
    """Power per frequency [C, h, w] of frames [N, C, h, w] of unit noise's scale, and the frequencies along both axes."""
    n, c, h, w = frames.shape
    window = torch.hann_window(h, periodic=False)[:, None] * torch.hann_window(w, periodic=False)
    frames = frames - frames.mean((2, 3), keepdim=True)
    power = torch.fft.fft2(frames * window).abs() ** 2 / (window**2).sum()
    fy, fx = torch.fft.fftfreq(h)[:, None], torch.fft.fftfreq(w)[None]
    return power.mean(0), fy.expand(h, w), fx.expand(h, w)


def main(path):
    (latents,) = [t for t in load_file(path).values() if t.dim() == 5]
    frames = latents.double().flatten(0, 0).transpose(1, 2).flatten(0, 1)
    power, fy, fx = spectrum(frames)
    radius = torch.sqrt(fy**2 + fx**2)
    bands = [(0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.44, 0.5)]
    print(f"{tuple(frames.shape)} std {float(frames.std()):.2f}")
    total = {b: 0.0 for b in BLURS}
    for t in TIMES:
        noise = (t / (1 - t)) ** 2
        def change(gain):
            """Per band, the mean over channels of what is left of their power, in dB."""
            out = []
            for a, b in bands:
                inside = (radius >= a) & (radius < b)
                left = (power * gain)[:, inside].sum(1) / power[:, inside].sum(1)
                out.append(float((10 * torch.log10(left)).mean()))
            return out

        # Per channel and band, as the spectrum of so few frames is rough.
        smooth = power.clone()
        for a, b in bands:
            inside = (radius >= a) & (radius < b)
            smooth[:, inside] = power[:, inside].mean(1, keepdim=True)
        kept = smooth / (smooth + noise)
        wanted = change(kept)
        print(f"t {t}: denoiser", " ".join(f"{x:6.2f}" for x in wanted), "dB in bands", bands)
        for blur in BLURS:
            gain = torch.exp(-((2 * torch.pi * radius * blur * t) ** 2))
            got = change(gain)
            total[blur] += sum((g - w) ** 2 for g, w in zip(got, wanted))
            print(f"      blur {blur}:", " ".join(f"{x:6.2f}" for x in got))
        # error of the denoised latent: S N / (S + N) per frequency
        error = (smooth * noise / (smooth + noise)).mean()
        lost = (power * (1 - torch.exp(-((2 * torch.pi * radius * 2.0 * t) ** 2) / 2)) ** 2).mean()
        print(f"      error of the denoiser {float(error)**0.5:.4f} = {float(error)**0.5 / t:.3f} t;",
              f"what blur 2 takes {float(lost)**0.5:.4f} = {float(lost)**0.5 / t:.3f} t")
    for blur, squares in total.items():
        print(f"blur {blur}: rms difference {(squares / len(TIMES) / len(bands)) ** 0.5:.2f} dB")


main(sys.argv[1])
