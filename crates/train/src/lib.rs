//! Training of the 2x decoder and of the degradation proxy: configuration, data, steps, the loop, checkpoints.
