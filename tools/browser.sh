#!/usr/bin/env bash
# The comparison page's tests in a real Chromium.
#
#   tools/browser.sh [NAMES OF TESTS]
#   tools/browser.sh large       # prints what a page of twelve images of 4096 x 4096 takes
#
# Chromium is looked for on the path or in VAE2X_CHROMIUM; where it is missing, Debian's is installed if that can be done. VAE2X_SHOTS
# names a folder for screenshots of every mode on every screen. Without Chromium the exit status is 3.
set -euo pipefail
cd "$(dirname "$0")/.."

has_chromium() {
  [ -n "${VAE2X_CHROMIUM:-}" ] && return
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null && return
  done
  return 1
}
if ! has_chromium; then
  (apt-get update && apt-get install -y chromium) >/dev/null 2>&1 || true
fi
if ! has_chromium; then
  echo "Chromium is missing; install it (Debian: apt-get install chromium) or name it in VAE2X_CHROMIUM" >&2
  exit 3
fi
if [ "${1:-}" = large ]; then
  cargo test --release -p vae2x-compare --test browser -- --ignored --nocapture large::
else
  cargo test --release -p vae2x-compare --test browser -- --ignored --skip large:: "$@"
fi
