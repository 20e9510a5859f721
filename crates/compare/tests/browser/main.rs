//! The comparison page in a real Chromium, opened from a file. These tests need that browser, so they are ignored unless asked for:
//! `tools/browser.sh` finds or installs it and runs them.

mod chromium;
mod clips;
mod flip;
mod large;
mod looks;
mod modes;
mod pages;
mod zoom;
