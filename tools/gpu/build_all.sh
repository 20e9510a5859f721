#!/usr/bin/env bash
# Builds the program with every combination of the device features that this machine can build.
#
#   tools/gpu/build_all.sh [check|build]
#
# `check` (the default) stops before code generation and fetches nothing but crates, `build` makes each program in release mode.
# CUDA's libraries are loaded when a device is opened, so no toolkit is needed, but building fetches LLVM (README.md here).
# Metal is for macOS. LibTorch is included where LIBTORCH names it or LIBTORCH_USE_PYTORCH=1 promises that `python3` has the right
# version.
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-check}" in
  # The variable keeps the build script of CubeCL's compiler for CUDA from fetching LLVM.
  check) command=(env DOCS_RS=1 cargo check --release) ;;
  build) command=(cargo build --release) ;;
  *) echo "usage: $0 [check|build]" >&2; exit 2 ;;
esac
features=(vulkan webgpu cuda)
[[ "$(uname)" == Darwin ]] && features=(metal webgpu)
if [[ -n "${LIBTORCH:-}${LIBTORCH_USE_PYTORCH:-}" ]]; then
  features+=(libtorch)
else
  echo "without libtorch: neither LIBTORCH nor LIBTORCH_USE_PYTORCH is set" >&2
fi
for ((set = 0; set < 1 << ${#features[@]}; set++)); do
  chosen=()
  for i in "${!features[@]}"; do
    ((set >> i & 1)) && chosen+=("${features[i]}")
  done
  list=$(IFS=,; echo "${chosen[*]:-}")
  echo "== ${list:-no device feature}" >&2
  "${command[@]}" -p vae2x-cli --all-targets --features "$list"
done
