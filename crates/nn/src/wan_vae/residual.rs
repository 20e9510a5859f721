//! The residual block: twice norm, SiLU and convolution, plus a shortcut.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use vae2x_core::Result;
use vae2x_core::arch;
use vae2x_core::weights::Weights;

use super::{CausalConv, History, Keep, PointConv, RmsNorm};

/// Convolutions that a pixel passes through one after another.
pub(super) const CONVS_PER_BLOCK: usize = 2;

/// `shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))`.
#[derive(Module, Debug)]
pub struct Residual {
    /// Before the first convolution.
    pub norm1: RmsNorm,
    /// First convolution.
    pub conv1: CausalConv,
    /// Before the second convolution.
    pub norm2: RmsNorm,
    /// Second convolution.
    pub conv2: CausalConv,
    /// Only where the width changes.
    pub shortcut: Option<PointConv>,
}

/// What a residual block keeps between latent frames.
#[derive(Clone, Debug, Default)]
pub struct ResidualState {
    conv1: History,
    conv2: History,
}

impl ResidualState {
    /// No frames yet.
    pub fn new(keep: Keep) -> Self {
        Self {
            conv1: History::new(keep),
            conv2: History::new(keep),
        }
    }

    /// Moves everything to `device`.
    pub(super) fn move_to(&mut self, device: &Device) {
        self.conv1.move_to(device);
        self.conv2.move_to(device);
    }
}

impl Residual {
    /// Builds the block that `spec` names.
    ///
    /// # Errors
    /// If `weights` lack a tensor.
    pub fn load(spec: &arch::Residual, weights: &dyn Weights, device: &Device) -> Result<Self> {
        Ok(Self {
            norm1: RmsNorm::load(&spec.norm1, weights, device)?,
            conv1: CausalConv::load(&spec.conv1, weights, device)?,
            norm2: RmsNorm::load(&spec.norm2, weights, device)?,
            conv2: CausalConv::load(&spec.conv2, weights, device)?,
            shortcut: spec
                .shortcut
                .as_ref()
                .map(|s| PointConv::load(s, weights, device))
                .transpose()?,
        })
    }

    /// # Shapes
    /// `[B, I, T, H, W]` -> `[B, O, T, H, W]`
    pub fn forward(&self, x: Tensor<5>, state: &mut ResidualState) -> Tensor<5> {
        let y = self
            .conv1
            .forward(self.norm1.forward_silu(x.clone()), &mut state.conv1);
        let y = self
            .conv2
            .forward(self.norm2.forward_silu(y), &mut state.conv2);
        match &self.shortcut {
            Some(shortcut) => shortcut.forward_clip(x) + y,
            None => x + y,
        }
    }
}
