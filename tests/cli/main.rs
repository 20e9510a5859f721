//! The program as its users meet it: a black box with files in, files out, messages and exit codes.

mod bad_input;
mod codec;
mod degradation;
mod demo;
mod devices;
mod files;
mod hub;
mod sdedit;
mod support;
mod train;
