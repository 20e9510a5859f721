//! The latent spaces whose files are recognized, by their channels: the one place that names
//! numbers of channels.

use vae2x_core::VaeConfig;

/// A latent space as files show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSpace {
    /// Channels of a latent.
    pub channels: usize,
    /// Pixels per latent cell along each axis, at base resolution.
    pub cell: usize,
    /// Latent cells per token along each axis, where diffusers packs latents.
    pub patch: usize,
}

impl KnownSpace {
    /// Values of a packed token.
    pub fn token(&self) -> usize {
        self.channels * self.patch * self.patch
    }

    /// Pixels per token along each axis, at base resolution.
    pub fn token_pixels(&self) -> usize {
        self.patch * self.cell
    }
}

/// All spaces that are recognized, the likelier first: Wan2.1's, which Qwen-Image shares.
pub fn known_spaces() -> [KnownSpace; 1] {
    /// As Qwen-Image's pipelines pack: `_pack_latents` in
    /// <https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/pipelines/qwenimage/pipeline_qwenimage.py>.
    const PATCH: usize = 2;
    let wan21 = VaeConfig::default();
    [KnownSpace {
        channels: wan21.z_dim,
        cell: wan21.spatial(),
        patch: PATCH,
    }]
}

/// The recognized space of latents with this many channels.
pub fn space_of(channels: usize) -> Option<KnownSpace> {
    known_spaces()
        .into_iter()
        .find(|space| space.channels == channels)
}

/// Whose latents have this many channels and cannot be decoded here, in words.
pub(super) fn foreign(channels: usize) -> Option<&'static str> {
    const FOREIGN: [(usize, &str); 2] = [
        (
            WAN22_5B,
            "this latent is Wan2.2-5B's (its VAE is another model)",
        ),
        (
            64,
            "this latent is Qwen-Image 2.1's (its VAE is another model)",
        ),
    ];
    let found = FOREIGN.iter().find(|(count, _)| *count == channels);
    found.map(|(_, words)| *words)
}

/// Channels of Wan2.2-5B's latents.
const WAN22_5B: usize = 48;

/// Whether clips that cannot be decoded here have this many channels.
pub(super) fn is_foreign_clip(channels: usize) -> bool {
    channels == WAN22_5B
}
