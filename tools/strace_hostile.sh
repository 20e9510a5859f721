#!/usr/bin/env bash
# Runs the hostile cases under strace, and fails if a run opens for writing, creates, renames or removes anything outside of the
# folder of its case and the home that it was given. Without strace it prints that this is skipped.
#
#   tools/strace_hostile.sh [FEATURES] [WORDS OF CASES]
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v strace >/dev/null; then
  echo "skipped: no strace"
  exit 0
fi
# What is left out takes long or much memory and opens the same files, or names an output in /proc or /dev.
VAE2X_TRACE=1 cargo test --release -p vae2x-cli --features "${1:-default}" --test hostile -- ${2:+"$2"} \
  --skip determinism --skip "MB" --skip "million" --skip "megapixels" --skip "gigabyte" --skip "16384" --skip "16383" \
  --skip "0,000" --skip "random changes" --skip "disk," --skip "as nobody" --skip "/proc" --skip "/dev/" \
  --skip "without an environment"
