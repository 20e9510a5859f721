#!/usr/bin/env bash
# Runs the goldens, the bands and the sort on a device.
#
#   tools/gpu/test_device.sh webgpu|vulkan|metal|cuda|libtorch [--corrected] [ARGUMENTS OF cargo test]
#
# Without a GPU, Mesa's software driver (Debian: apt install mesa-vulkan-drivers) serves `webgpu`, and `vulkan --corrected`: drivers
# without VK_KHR_workgroup_memory_explicit_layout, as that one is, get invalid SPIR-V from cubecl-spirv 0.11.3, which has two types
# swapped. --corrected builds with a copy in target/ that has them right, and leaves Cargo.lock as it was.
set -euo pipefail
cd "$(dirname "$0")/../.."

device=${1:?usage: $0 webgpu|vulkan|metal|cuda|libtorch [--corrected] [ARGUMENTS OF cargo test]}
shift
config=()
if [[ "${1:-}" == --corrected ]]; then
  shift
  source=$(cargo metadata --format-version 1 --features "vae2x/$device" |
    grep -o '"manifest_path":"[^"]*cubecl-spirv-0\.11\.3/Cargo\.toml"' | head -1 | cut -d'"' -f4)
  copy=$PWD/target/corrected/cubecl-spirv
  file=$copy/src/ops/memory.rs
  if [[ ! -d "$copy" ]]; then
    mkdir -p "$(dirname "$copy")"
    cp -r "$(dirname "$source")" "$copy"
    # The variable has the type of what it holds; its address has the pointer's.
    sed -i -e '/^fn lower_shared_implicit/,/^}/{
      s/GlobalVariableOp::new(ctx, value_ty,/GlobalVariableOp::new(ctx, ty,/
      s/AddressOfOp::new(ctx, ty, name)/AddressOfOp::new(ctx, value_ty, name)/
    }' "$file"
  fi
  config=(--config "patch.crates-io.cubecl-spirv.path='$copy'")
  lock=$(mktemp)
  cp Cargo.lock "$lock"
  trap 'cp "$lock" Cargo.lock; rm "$lock"' EXIT
  export VAE2X_SOFTWARE_VULKAN=1
fi
export VAE2X_TEST_DEVICE=$device
cargo test --release -p vae2x -p vae2x-nn --features "vae2x/$device" "${config[@]}" "$@"
