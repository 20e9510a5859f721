//! The layer list in stages.

use vae2x_core::arch::Layer;

/// Layers at the latent's resolution that need whole frames: the first ones of a decoder, the last ones of an encoder.
pub(super) const WHOLE: usize = 5;

/// Channels that go into a stage and come out of it.
pub(super) fn ends(stage: &[Layer]) -> (usize, usize) {
    let channels = |layer: &Layer| match layer {
        Layer::Residual(spec) => (spec.conv1.inputs, spec.conv2.outputs),
        Layer::Conv(conv)
        | Layer::Upsample { conv, .. }
        | Layer::Downsample { conv, .. }
        | Layer::Head { conv, .. } => (conv.inputs, conv.outputs),
        Layer::Attention(spec) => (spec.to_qkv.inputs, spec.proj.outputs),
    };
    let first = stage.first().map_or(0, |layer| channels(layer).0);
    (first, stage.last().map_or(0, |layer| channels(layer).1))
}

/// Values of all weights.
pub(in crate::wan_vae::engine) fn weights(layers: &[Layer]) -> usize {
    layers
        .iter()
        .flat_map(Layer::tensors)
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum()
}

/// Runs of layers; each ends with a resampling layer or the last layer.
pub(super) fn stages(layers: &[Layer]) -> impl Iterator<Item = &[Layer]> {
    layers.split_inclusive(is_resampling)
}

fn is_resampling(layer: &Layer) -> bool {
    matches!(layer, Layer::Upsample { .. } | Layer::Downsample { .. })
}

/// Whether a stage ends with a resampling layer.
pub(super) fn halves(stage: &[Layer]) -> bool {
    stage.last().is_some_and(is_resampling)
}

/// Residual blocks of a stage.
pub(super) fn blocks(stage: &[Layer]) -> usize {
    stage
        .iter()
        .filter(|layer| matches!(layer, Layer::Residual(_)))
        .count()
}
