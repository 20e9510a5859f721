//! Metrics, speckle score and comparison pages: how pictures differ, by number and by eye.

pub mod chart;
pub mod metrics;
pub mod spectrum;
pub mod spectrum_page;
