//! Names of tensors and metadata in latent files.

/// The tensor of ComfyUI's SaveLatent.
pub(super) const COMFY_TENSOR: &str = "latent_tensor";
/// An empty tensor whose presence says that [`COMFY_TENSOR`] is as the VAE made it.
pub(super) const COMFY_VERSION: &str = "latent_format_version_0";
/// The tensor's name in files of diffusers users, and in those written here.
pub(super) const LATENTS: &str = "latents";
/// The metadata entry of files written here that names the space: `raw` or `normalized`.
pub(super) const SPACE_MARKER: &str = "latent_space";
