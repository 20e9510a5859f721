#!/usr/bin/env bash
# Builds and links the program with each device feature and with all of them together, runs each, and prints a table of times and
# sizes.
#
#   tools/gpu/build_all.sh [PROFILE]
#
# PROFILE is a cargo profile: `release` (the default), or `link`, which optimizes nothing and takes a third of the time. CUDA's libraries
# are loaded when a device is opened, so no toolkit is needed to build; LLVM comes from PyPI (llvm.sh). Metal is for macOS. LibTorch needs PyTorch 2.9.0, in the
# Python that PYTHON names, `python3` if it names none; without it, it is left out, which is printed. All sets share one target folder:
# each time is of what the sets before did not need.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=${1:-release}
if [[ $(uname) == Darwin ]]; then
  features=(metal webgpu)
else
  features=(vulkan webgpu cuda)
  llvm=$(tools/gpu/llvm.sh)
  eval "$llvm"
fi
python=$(command -v "${PYTHON:-python3}")
if "$python" -c 'import torch, sys; sys.exit(not torch.__version__.startswith("2.9.0"))' 2>/dev/null; then
  features+=(libtorch)
  torch=$("$python" -c 'import torch; print(torch.__path__[0])')
  # The build script runs `python3`.
  export LIBTORCH_USE_PYTORCH=1 PATH=$(dirname "$python"):$PATH
  export LD_LIBRARY_PATH=$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
else
  echo "without libtorch: $python has no PyTorch 2.9.0" >&2
fi

folder=${CARGO_TARGET_DIR:-target}/$profile
all=$(IFS=,; echo "${features[*]}")
echo "| features | build, s | stripped, MB | needs | \`vae2x devices\` |"
echo "|---|---|---|---|---|"
for set in "" "${features[@]}" "$all"; do
  start=$SECONDS
  cargo build --profile "$profile" -p vae2x-cli --features "$set" >&2
  took=$((SECONDS - start))
  stripped=$(mktemp)
  strip -o "$stripped" "$folder/vae2x"
  size=$(($(wc -c <"$stripped") / 1000000))
  rm "$stripped"
  needs=-
  if command -v ldd >/dev/null; then
    # What every Linux has is left out.
    needs=$(ldd "$folder/vae2x" | sed -nE 's/^\s*(\S+)\.so.*/\1/p' | grep -vE 'linux-vdso|ld-linux|^lib(c|m|dl|rt|pthread|gcc_s)$' |
      tr '\n' ' ' || true)
  fi
  devices=$("$folder/vae2x" devices 2>&1 | grep -E "^($(echo "$all" | tr ',' '|'))" | tr -s ' ' | tr '\n' ';' || true)
  echo "| ${set:-default} | $took | $size | ${needs:-nothing} | $devices |"
done
