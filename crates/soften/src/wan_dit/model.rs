//! The whole transformer.

use burn::module::{Module, Param};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};
use vae2x_core::{Error, Result};

use super::block::Block;
use super::config::DitConfig;
use super::rotary::Rotary;
use vae2x_nn::layers::{Linear, TensorSource, gelu_tanh, layer_norm, parameter};

/// The model's timestep input at flow time 1.
pub const TIME_SCALE: f64 = 1000.0;

/// The slowest sine of the time embedding has about this period.
const TIME_PERIOD: f64 = 10_000.0;

/// The transformer. Fields are called as the original layout calls its tensors.
#[derive(Module, Debug)]
pub struct WanDit {
    /// From the values of a patch; the file's convolution of `[C, in, 1, 2, 2]`, flat.
    pub patch_embedding: Linear,
    /// Two layers.
    pub text_embedding: [Linear; 2],
    /// Two layers.
    pub time_embedding: [Linear; 2],
    /// To the six parts of every block.
    pub time_projection: Linear,
    /// In the order of the data.
    pub blocks: Vec<Block>,
    /// `[1, 2, C]`: shift and scale of the last norm.
    pub head_modulation: Param<Tensor<3>>,
    /// To the values of a patch.
    pub head: Linear,
    #[module(skip)]
    config: DitConfig,
}

impl WanDit {
    /// Builds the model from `source`, which is asked for every tensor of [`super::tensors::specs`].
    ///
    /// # Errors
    /// Errors of `source`; [`Error::Config`] for impossible sizes.
    pub fn load(config: &DitConfig, source: &TensorSource<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        let DitConfig {
            dim,
            freq_dim,
            text_dim,
            in_channels,
            patch: [pt, ph, pw],
            ..
        } = *config;
        let linear = |name: &str, shape: [usize; 2]| Linear::load(name, shape, source, device);
        let flat = |name: &str, shape: &[usize]| match name {
            "patch_embedding.weight" => {
                source(name, &[dim, in_channels, pt, ph, pw])?.reshape(shape)
            }
            _ => source(name, shape),
        };
        let blocks = (0..config.layers).map(|i| Block::load(i, config, source, device));
        Ok(Self {
            patch_embedding: Linear::load(
                "patch_embedding",
                [dim, in_channels * pt * ph * pw],
                &flat,
                device,
            )?,
            text_embedding: [
                linear("text_embedding.0", [dim, text_dim])?,
                linear("text_embedding.2", [dim, dim])?,
            ],
            time_embedding: [
                linear("time_embedding.0", [dim, freq_dim])?,
                linear("time_embedding.2", [dim, dim])?,
            ],
            time_projection: linear("time_projection.1", [6 * dim, dim])?,
            blocks: blocks.collect::<Result<_>>()?,
            head_modulation: parameter("head.modulation", [1, 2, dim], source, device)?,
            head: linear("head.head", [config.patch_values(), dim])?,
            config: config.clone(),
        })
    }

    /// The model's sizes.
    pub fn config(&self) -> &DitConfig {
        &self.config
    }

    /// The velocity `e - x0` at normalized latents. `timesteps` are `1000 t`, one for each latent; `text` is the caption as
    /// the text encoder gives it (Wan2.1 was trained with captions padded by zeros to 512 tokens).
    ///
    /// # Shapes
    /// `[B, in, T, h, w]`, `[B]`, `[B, M, text_dim]` -> `[B, out, T, h, w]`; h and w multiples of the patch
    ///
    /// # Errors
    /// [`Error::Shape`] for inputs that do not fit the model or each other.
    pub fn forward(
        &self,
        latent: Tensor<5>,
        timesteps: &[f64],
        text: Tensor<3>,
    ) -> Result<Tensor<5>> {
        self.check(&latent, timesteps, &text)?;
        let [_, _, t, h, w] = latent.dims();
        let [_, ph, pw] = self.config.patch;
        let grid = [t, h / ph, w / pw];
        let rotary = Rotary::new(grid, self.config.head_dim(), &latent.device());
        let [first, second] = &self.time_embedding;
        let time = self.clock(timesteps, &latent.device());
        let time = second.forward(silu(first.forward(time)));
        let dim = self.config.dim;
        let parts =
            self.time_projection
                .forward(silu(time.clone()))
                .reshape([timesteps.len(), 6, dim]);
        let [first, second] = &self.text_embedding;
        let caption = second.forward(gelu_tanh(first.forward(text)));

        let mut x = self.patch_embedding.forward(self.patch(latent));
        for block in &self.blocks {
            x = block.forward(x, parts.clone(), caption.clone(), &rotary);
        }
        let part = |i: usize| self.head_modulation.val().narrow(1, i, 1) + time.clone();
        let x = layer_norm(x, self.config.epsilon) * (part(1) + 1.0) + part(0);
        Ok(self.unpatch(self.head.forward(x), grid))
    }

    fn check(&self, latent: &Tensor<5>, timesteps: &[f64], text: &Tensor<3>) -> Result<()> {
        let wrong = |what: &str, expected: String, got: String| {
            Err(Error::Shape {
                what: what.into(),
                expected,
                got,
            })
        };
        let DitConfig {
            in_channels,
            text_dim,
            patch: [_, ph, pw],
            ..
        } = self.config;
        let [b, c, t, h, w] = latent.dims();
        if c != in_channels || b * t * h * w == 0 || !h.is_multiple_of(ph) || !w.is_multiple_of(pw)
        {
            let expected =
                format!("[B, {in_channels}, T, h, w] with h a multiple of {ph} and w of {pw}");
            return wrong("the latent", expected, format!("{:?}", latent.dims()));
        }
        if timesteps.len() != b {
            return wrong(
                "timesteps",
                format!("{b}, one for each latent"),
                timesteps.len().to_string(),
            );
        }
        let [captions, tokens, width] = text.dims();
        if captions != b || tokens == 0 || width != text_dim {
            return wrong(
                "the caption",
                format!("[{b}, tokens, {text_dim}]"),
                format!("{:?}", text.dims()),
            );
        }
        Ok(())
    }

    /// Cosines, then sines, of the timesteps at falling frequencies, computed in double precision.
    ///
    /// # Shapes
    /// `B` timesteps -> `[B, 1, freq_dim]`
    fn clock(&self, timesteps: &[f64], device: &Device) -> Tensor<3> {
        let half = self.config.freq_dim / 2;
        let angle = |t: f64, i: usize| t * TIME_PERIOD.powf(-(i as f64) / half as f64);
        let one = |&t: &f64| {
            let cosines = (0..half).map(move |i| angle(t, i).cos());
            cosines.chain((0..half).map(move |i| angle(t, i).sin()))
        };
        let values: Vec<f32> = timesteps.iter().flat_map(one).map(|v| v as f32).collect();
        Tensor::from_data(
            TensorData::new(values, [timesteps.len(), 1, 2 * half]),
            device,
        )
    }

    /// # Shapes
    /// `[B, in, T, h, w]` -> `[B, T h/p w/q, in p q]`
    fn patch(&self, x: Tensor<5>) -> Tensor<3> {
        let [b, c, t, h, w] = x.dims();
        let [_, ph, pw] = self.config.patch;
        // B C T (h p) (w q) -> B (T h w) (C p q)
        let x = x
            .reshape([b, c, t, h / ph, ph, w / pw, pw])
            .permute([0, 2, 3, 5, 1, 4, 6]);
        x.reshape([b, t * (h / ph) * (w / pw), c * ph * pw])
    }

    /// # Shapes
    /// `[B, T h w, p q out]` -> `[B, out, T, h p, w q]`
    fn unpatch(&self, x: Tensor<3>, [t, h, w]: [usize; 3]) -> Tensor<5> {
        let b = x.dims()[0];
        let [_, ph, pw] = self.config.patch;
        let c = self.config.out_channels;
        let x = x
            .reshape([b, t, h, w, ph, pw, c])
            .permute([0, 6, 1, 2, 4, 3, 5]);
        x.reshape([b, c, t, h * ph, w * pw])
    }
}
