#!/usr/bin/env bash
# Measures everything on a machine with a GPU in at most 9 minutes: goldens, decoding beside PyTorch, layers, training steps, the CPU
# engine's threads. The most valuable comes first, what fails is noted and the rest goes on.
#
#   tools/gpu/pack.sh                       on a machine with Rust: makes target/gpu/carry.tar.xz, for a machine with neither
#   tools/gpu/measure.sh [OUT]              on the machine with the GPU, a driver and PyTorch: from the checkout and that archive
#   tools/gpu/measure.sh --rehearse DEVICE [OUT]    small sizes on DEVICE of a local build: webgpu (software Vulkan), libtorch, burn
#   tools/gpu/measure.sh --dry-run          lists the steps and their seconds
#
# OUT (target/gpu/results if not given) gets results.jsonl, one line per measurement, report.md, made of it by report.py, and a log
# of each step. A step that fails or outlives its seconds is a line of the report.
set -uo pipefail
cd "$(dirname "$0")/../.."

limit=540
rehearse=
dry=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --rehearse) rehearse=${2:?--rehearse takes a device}; shift 2 ;;
    --dry-run) dry=1; shift ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
done
out=${1:-target/gpu/results}
python=${PYTHON:-python3}
work=${TMPDIR:-/tmp}/vae2x-measure-$$
weights=$work/w.safetensors

# Each step: name | seconds | command. $bench is the program with kernels through CUDA C++, $llvm through LLVM.
bench=$work/carry/vae2x-bench
llvm=$work/carry/vae2x-bench-llvm
steps=()
step() { steps+=("$1|$2|$3"); }
pytorch="$python tools/gpu/bench_pytorch.py $weights"
if [[ -z $rehearse ]]; then
  device=cuda
  step "device" 5 "nvidia-smi; lscpu"
  step "weights" 10 "$bench weights $weights --out-channels 3"
  step "goldens, C++" 35 "$bench parity cuda"
  for dtype in bf16 f32 f16; do
    step "1024x1024, C++, $dtype" 30 "$bench decode cuda --cells 128x128 --dtype $dtype"
  done
  step "1024x1024, PyTorch" 55 "$pytorch --cells 128x128 --dtypes bf16,f32"
  step "832x480, 81 frames, C++, bf16" 35 "$bench decode cuda --cells 60x104 --frames 21 --runs 1 --dtype bf16"
  step "832x480, 81 frames, PyTorch" 30 "$pytorch --cells 60x104 --frames 21 --runs 1 --dtypes bf16"
  step "training step, bf16" 40 "$bench step-time 96 512 4 4 train.precision=bf16 --device cuda"
  step "training step, PyTorch, bf16" 20 "$python tools/reference/bench_train.py 96 512 4 4 --device cuda --bf16"
  step "goldens, LLVM" 30 "$llvm parity cuda --small"
  step "1024x1024, LLVM, bf16" 25 "$llvm decode cuda --cells 128x128 --dtype bf16"
  step "layers, bf16" 20 "$bench layers cuda --dtype bf16"
  step "CPU threads" 30 "for n in 1 2 4 8 16; do $bench decode cpu --cells 64x64 --threads \$n --runs 2; done"
  step "2048x2048, C++, bf16" 20 "$bench decode cuda --cells 256x256 --runs 2 --dtype bf16"
  step "2048x2048, PyTorch" 20 "$pytorch --cells 256x256 --runs 2 --dtypes bf16 --variants 'diffusers,PyTorch 2-D'"
  step "512x512, C++" 25 "for t in f32 bf16 f16; do $bench decode cuda --cells 64x64 --dtype \$t; done"
  step "512x512, PyTorch" 20 "$pytorch --cells 64x64 --dtypes f32,bf16 --variants 'diffusers,PyTorch 2-D'"
  step "training step, f32" 20 "$bench step-time 96 512 4 3 --whole --device cuda"
  step "training step, PyTorch, f32" 10 "$python tools/reference/bench_train.py 96 512 4 3 --device cuda"
else
  # Half precision of CubeCL's software devices is f16; LibTorch has bf16. Small enough for two CPU cores.
  device=$rehearse
  limit=4000
  half=bf16
  [[ $device == webgpu* || $device == vulkan* ]] && half=f16
  bench=${BENCH:-${CARGO_TARGET_DIR:-target}/release/vae2x-bench}
  llvm=$bench
  [[ $device == burn ]] && precisions=(f32) || precisions=(f32 "$half")
  step "device" 5 "lscpu"
  step "weights" 20 "$bench weights $weights --out-channels 3"
  step "goldens" 900 "$bench parity $device --small"
  for dtype in "${precisions[@]}"; do
    step "64x64, $dtype" 300 "$bench decode $device --cells 8x8 --runs 1 --dtype $dtype"
  done
  step "64x64, PyTorch" 300 "$pytorch --cells 8x8 --runs 1 --dtypes f32"
  # Many CPUs emulate it, a hundred times slower.
  step "16x16, PyTorch bf16" 300 "$pytorch --cells 2x2 --runs 1 --dtypes bf16"
  step "64x32, 5 frames" 300 "$bench decode $device --cells 8x4 --frames 2 --runs 1"
  step "64x32, 5 frames, PyTorch" 120 "$pytorch --cells 8x4 --frames 2 --runs 1 --dtypes f32"
  step "training step" 600 "$bench step-time 8 64 1 2 --device $device"
  step "training step, PyTorch" 120 "$python tools/reference/bench_train.py 8 64 1 2"
  step "layers" 600 "$bench layers $device --cells 8x8 --base-dim 16 --runs 1 --product 256"
  step "CPU threads" 60 "for n in 1 2; do $bench decode cpu --cells 32x32 --threads \$n --runs 2; done"
fi

total=0
if [[ -n $dry ]]; then
  for entry in "${steps[@]}"; do
    IFS='|' read -r name seconds command <<<"$entry"
    total=$((total + seconds))
    printf '%4d s, then %4d s  %s\n' "$seconds" "$total" "$name"
  done
  ((total <= limit)) || { echo "the steps may take $total s of $limit s" >&2; exit 1; }
  exit 0
fi

mkdir -p "$out/logs" "$work"
trap 'rm -rf "$work"' EXIT
: >"$out/results.jsonl"
if [[ -z $rehearse ]]; then
  mkdir -p "$work/carry"
  tar -xJf "${CARRY:-target/gpu/carry.tar.xz}" -C "$work/carry" || exit 1
  # Wheels that PyTorch does not bring; what is installed already comes first.
  export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$work/carry/python
  # The header that PyTorch's CUDA lacks: a copy of its folder by links, completed.
  if [[ ! -e ${CUDA_PATH:-/usr/local/cuda}/include/crt/mma.h ]]; then
    site=$("$python" -c 'import nvidia; print(list(nvidia.__path__)[0])')/cu13
    mkdir -p "$work/cuda/include"
    ln -s "$site"/* "$work/cuda/" 2>/dev/null
    ln -s "$site"/include/* "$work/carry"/crt/include/* "$work/cuda/include/" 2>/dev/null
    export CUDA_PATH=$work/cuda
  fi
fi

started=$SECONDS
for entry in "${steps[@]}"; do
  IFS='|' read -r name seconds command <<<"$entry"
  left=$((limit - (SECONDS - started)))
  ((seconds < left)) || seconds=$left
  log=$out/logs/$(tr -c 'a-zA-Z0-9\n' '_' <<<"$name").log
  begun=$SECONDS
  if ((seconds > 0)); then
    timeout --kill-after=5 "$seconds" bash -c "$command" >"$log.out" 2>"$log"
    code=$?
  else
    code=skipped
    : >"$log.out" >"$log"
  fi
  # Results are the lines that are objects of JSON; all else is the log's.
  grep '^{' "$log.out" | sed "s|^{|{\"step\": \"$name\", |" >>"$out/results.jsonl"
  grep -v '^{' "$log.out" >>"$log"
  rm "$log.out"
  printf '{"step": "%s", "what": "end", "code": "%s", "took": %d}\n' "$name" "$code" $((SECONDS - begun)) >>"$out/results.jsonl"
  echo "$name: exit code $code, $((SECONDS - begun)) s" >&2
  [[ $code == 0 ]] || tail -n 3 "$log" >&2
done
"$python" tools/gpu/report.py "$out" >"$out/report.md" && cat "$out/report.md"
# A rehearsal is there to find what fails.
[[ -z $rehearse ]] || ! grep '"what": "end"' "$out/results.jsonl" | grep -qv '"code": "0"'
