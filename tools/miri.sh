#!/usr/bin/env bash
# The kernels' unsafe code under miri, which finds reads and writes out of bounds: one random case of each.
# Without a nightly compiler that has miri, it prints that the run is skipped.
#
#   tools/miri.sh
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo +nightly miri --version >/dev/null 2>&1; then
  timeout 120 rustup component add miri rust-src --toolchain nightly >/dev/null 2>&1 || true
fi
if ! cargo +nightly miri --version >/dev/null 2>&1; then
  echo "miri skipped: no nightly compiler that has it"
  exit 0
fi
MIRIFLAGS="-Zmiri-disable-isolation" cargo +nightly miri test -p vae2x-kernels --lib
