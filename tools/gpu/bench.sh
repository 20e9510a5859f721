#!/usr/bin/env bash
# Parity on the fixtures, then a table of decoding times on a device, beside PyTorch on the same machine.
#
#   tools/gpu/bench.sh vulkan|metal|webgpu|cuda|libtorch [LARGEST]     or with the device's number, such as cuda:1
#
# LARGEST, a side in pixels (2048 if not given), leaves out what is larger, for small devices. Base width 96, 3 output
# channels, weights by formula; pixels at base resolution. Every number is the least of RUNS runs (5) after a warm-up. Half precision
# is bf16, or f16 where CubeCL has no bf16, which is Vulkan and WebGPU. PyTorch's rows appear if `python3` has torch and diffusers and
# sees a GPU, or the device is `libtorch`, which may be the CPU; PYTHON names another interpreter. A failed parity is a result
# like others: the table follows all the same.
set -euo pipefail
cd "$(dirname "$0")/../.."

device=${1:?usage: $0 vulkan|metal|webgpu|cuda|libtorch [LARGEST]}
largest=${2:-2048}
runs=${RUNS:-5}
python=${PYTHON:-python3}
feature=${device%%:*}
# Where the numbers are PyTorch's too.
gpu=0
[[ "$device" == cuda:* ]] && gpu=${device#*:}

if tools/gpu/test_device.sh "$device" --test fixtures --test bands -- --show-output >&2; then
  parity="passed"
else
  parity="FAILED, see above"
fi
echo "parity of $device on the fixtures in f32, relative error up to 1e-5: $parity"
cargo build --release -p vae2x --features "$feature" --example bench_device >&2
bench=${CARGO_TARGET_DIR:-target}/release/examples/bench_device

weights=$(mktemp -d)
trap 'rm -r "$weights"' EXIT
pytorch() { :; }
sees_gpu='import torch, diffusers, sys; sys.exit(not (torch.cuda.is_available() or torch.backends.mps.is_available()))'
[[ "$feature" == libtorch ]] && sees_gpu='import torch, diffusers'
if "$python" -c "$sees_gpu" 2>/dev/null; then
  cargo run --release -q -p vae2x-core --example formula_weights -- "$weights/w.safetensors" --base-dim 96 --out-channels 3 >&2
  pytorch() {
    "$python" tools/gpu/bench_pytorch.py "$weights/w.safetensors" --what "$1" --cells "$2" --frames "$3" --runs "$runs" \
      --gpu "$gpu"
  }
else
  echo "no rows of PyTorch: $python has no torch and diffusers, or they see no GPU" >&2
fi

half=bf16
[[ "$feature" == vulkan || "$feature" == webgpu ]] && half=f16
echo
echo "| what | engine | precision | first, s | then, s | device memory, MB |"
echo "|---|---|---|---|---|---|"
# Fields of one JSON line, in the order of the table; the memory is left out where a device does not tell.
row() {
  sed -nE "s/.*\"engine\":\"([^\"]*)\",\"dtype\":\"([^\"]*)\".*\"first_s\":([0-9.e-]*),\"seconds\":([0-9.e-]*),\"device_mb\":([^}]*).*/| $1 | \1 | \2 | \3 | \4 | \5 |/p" | sed 's/ null |$/ |/'
}
for case in "256x256, one frame:32x32:1:256" "512x512, one frame:64x64:1:512" "1024x1024, one frame:128x128:1:1024" \
  "2048x2048, one frame:256x256:1:2048" "832x480, 81 frames:60x104:21:832"; do
  IFS=: read -r what cells frames side <<< "$case"
  ((side > largest)) && continue
  for dtype in f32 $half; do
    if ! "$bench" "$device" --dtype "$dtype" --cells "$cells" --frames "$frames" --runs "$runs" | row "$what"; then
      echo "| $what | $device | $dtype | failed | | |"
    fi
  done
  pytorch "$what" "$cells" "$frames"
done
