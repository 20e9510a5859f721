#!/usr/bin/env bash
# The NEON kernels under emulation: the kernels' tests and the tiny models' goldens, built for aarch64 and run by qemu.
#
#   tools/neon.sh
#
# Needs rustup and qemu's user mode (Debian: qemu-user); where they are missing, it prints that the tests are skipped. The C library is musl,
# linked in, so that no cross compiler is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-musl
skip() {
  echo "NEON tests skipped: $1"
  exit 0
}
[ "$(uname -m)" = aarch64 ] && skip "this is an aarch64 machine, whose ordinary tests run them"
command -v rustup >/dev/null || skip "rustup is missing"
command -v qemu-aarch64 >/dev/null || skip "qemu-aarch64 is missing"
if ! rustup target list --installed | grep -qx "$target"; then
  timeout 120 rustup target add "$target" || skip "no standard library for $target"
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER="timeout 600 qemu-aarch64"
# Emulated, a few random cases of each kernel take as long as many.
export PROPTEST_CASES=4
cargo test --release --target "$target" -p vae2x-kernels -p vae2x-cpu --lib --test fixtures -- --skip full --skip bf16
