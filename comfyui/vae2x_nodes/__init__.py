"""The nodes and what they are made of.

- `schema`: what a node is; `v3` and `classic` give it a form, and `form` takes the one that ComfyUI has.
- `nodes/`: one node per file.
- `latents`, `images`, `audio`, `metadata`, `formats`: from ComfyUI's values to those of the package vae2x, and back.
- `writing`, `pyav`: a latent into files. `jobs`, `background`: the same while other prompts run.
- `host`: the only file that calls ComfyUI.
"""
