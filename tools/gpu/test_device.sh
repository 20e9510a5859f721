#!/usr/bin/env bash
# Runs the fixtures of all networks, the bands and the sort on a device, or the tests named in the arguments of cargo;
# `-- --show-output` prints every error.
#
#   tools/gpu/test_device.sh webgpu|vulkan|metal|cuda|libtorch [--software] [ARGUMENTS OF cargo test]
#
# The device may have a number, such as cuda:1.
# Without a GPU, `webgpu --software` and `vulkan --software` run on Mesa's software driver (Debian: apt install mesa-vulkan-drivers).
# Kernels are not measured then, which would take minutes for each. For `vulkan` there is one thing more: drivers without
# VK_KHR_workgroup_memory_explicit_layout, as that one is, get invalid SPIR-V from cubecl-spirv 0.11.3, which has two types swapped;
# a copy in target/ has them right, and Cargo.lock is left as it was.
set -euo pipefail
cd "$(dirname "$0")/../.."

device=${1:?usage: $0 webgpu|vulkan|metal|cuda|libtorch [--software] [ARGUMENTS OF cargo test]}
shift
feature=${device%%:*}
features=vae2x-cli/$feature
config=()
if [[ "${1:-}" == --software ]]; then
  shift
  # The program's features bring the measuring of kernels along; those of the networks' crate do not.
  features=vae2x-nn/$feature
  export VAE2X_SOFTWARE_VULKAN=1
fi
if [[ "$features" == vae2x-nn/vulkan ]]; then
  source=$(cargo metadata --format-version 1 --features "$features" |
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
fi
[[ "${1:---}" == -- ]] && set -- --test fixtures --test bands --test sort --test transformers "$@"
export VAE2X_TEST_DEVICE=$device
cargo test --release -p vae2x-cli -p vae2x -p vae2x-nn -p vae2x-soften --features "$features" ${config[@]+"${config[@]}"} "$@"
