"""Pipelines of diffusers, with tiny random weights, as its own tests make them."""

import numpy as np
import pytest

import vae2x

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("diffusers", reason="diffusers is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import vae2x.diffusers  # noqa: E402


def qwen():
    """QwenImagePipeline and what it is called with."""
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImagePipeline, QwenImageTransformer2DModel

    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=64,
        out_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    torch.manual_seed(0)
    vae = AutoencoderKLQwenImage(base_dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=1)
    parts = {"scheduler": FlowMatchEulerDiscreteScheduler(), "text_encoder": None, "tokenizer": None}
    pipe = QwenImagePipeline(transformer=transformer, vae=vae, **parts)
    prompt = {"prompt_embeds": torch.randn(1, 4, 16), "prompt_embeds_mask": torch.ones(1, 4, dtype=torch.long)}
    return pipe, {**prompt, "height": 64, "width": 48, "true_cfg_scale": 1.0}


def wan():
    """WanPipeline and what it is called with."""
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

    torch.manual_seed(0)
    vae = AutoencoderKLWan(base_dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=1)
    torch.manual_seed(0)
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    parts = {"scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0), "text_encoder": None, "tokenizer": None}
    pipe = WanPipeline(transformer=transformer, vae=vae, **parts)
    return pipe, {"prompt_embeds": torch.randn(1, 8, 32), "height": 48, "width": 64, "num_frames": 9, "guidance_scale": 1.0}


def run(pipe, call):
    """The frames or the image of a run, as an array in [0, 1]."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    output = pipe(**call, num_inference_steps=2, output_type="np", generator=generator)
    return np.asarray(output.images if hasattr(output, "images") else output.frames)


@pytest.mark.parametrize("make", [qwen, wan])
def test_a_base_decoder_gives_the_images_of_the_pipelines_own(make, tmp_path):
    pipe, call = make()
    expected = run(pipe, call)
    assert expected.std() > 0
    own = pipe.vae
    own.save_pretrained(tmp_path / "vae")
    assert vae2x.diffusers.attach(pipe, tmp_path / "vae") is pipe
    got = run(pipe, call)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-4
    assert pipe.vae.temperal_downsample == own.temperal_downsample and pipe.vae.config is own.config
    pipe.vae = pipe.vae.own
    assert np.array_equal(run(pipe, call), expected)


@pytest.mark.parametrize("make", [qwen, wan])
def test_a_2x_decoder_gives_twice_the_size(make, vae):
    pipe, call = make()
    own = run(pipe, call)
    heard = []
    large = run(vae2x.diffusers.attach(pipe, vae, progress=heard.append), call)
    assert large.shape == (*own.shape[:-3], 2 * own.shape[-3], 2 * own.shape[-2], 3)
    assert heard[-1] == 1
    assert run(vae2x.diffusers.attach(pipe, vae, scale=1), call).shape == own.shape


def test_outputs_and_the_encoder_are_those_of_diffusers(vae):
    pipe, _ = qwen()
    own = pipe.vae
    model = vae2x.diffusers.attach(pipe, vae).vae
    latents = torch.randn(2, 16, 2, 4, 3, dtype=torch.bfloat16)
    output = model.decode(latents)
    assert output.sample.shape == (2, 3, 5, 64, 48) and output.sample is output[0]
    assert output.sample.min() >= -1 and output.sample.max() <= 1
    assert torch.equal(model.decode(latents, return_dict=False)[0], output.sample)
    pixels = torch.rand(1, 3, 1, 16, 16) * 2 - 1
    assert torch.equal(model.encode(pixels).latent_dist.mode(), own.encode(pixels).latent_dist.mode())
    # In other pipelines it takes part in moving and casting.
    assert pipe.to(torch.bfloat16).vae.own.dtype == torch.bfloat16 and pipe.vae.dtype == torch.float32
    assert model.encode(pixels).latent_dist.mode().dtype == torch.bfloat16


def test_latents_of_another_model_are_refused(vae):
    from diffusers import AutoencoderKLWan

    pipe, _ = wan()
    pipe.vae = AutoencoderKLWan(base_dim=16, z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=1, latents_mean=[0.0] * 48)
    with pytest.raises(vae2x.BadRequest, match="48"):
        vae2x.diffusers.attach(pipe, vae)
