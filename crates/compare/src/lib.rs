//! Metrics, speckle score and comparison pages: how pictures differ, by number and by eye.

pub mod chart;
pub mod metrics;
pub mod numbers;
pub mod page;
pub mod sides;
pub mod speckle;
pub mod spectrum;
pub mod spectrum_page;
