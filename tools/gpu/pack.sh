#!/usr/bin/env bash
# Makes target/gpu/carry.tar.xz: what a bare x86-64 machine with a driver and PyTorch lacks for measure.sh. The two programs, with
# kernels through CUDA C++ and through LLVM, and the Python packages diffusers and nvidia-cuda-crt. Goldens travel with the checkout,
# weights are made there.
#
#   tools/gpu/pack.sh
#
# Fails if archive and checkout together are larger than 60 MiB.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The version of CUDA whose headers PyTorch brings today.
crt='nvidia-cuda-crt<13.1'
limit=$((60 << 20))
folder=target/gpu
stage=$(mktemp -d)
trap 'rm -r "$stage"' EXIT
llvm=$(tools/gpu/llvm.sh)
eval "$llvm"
built=${CARGO_TARGET_DIR:-target}/release/vae2x-bench
for features in cuda-llvm cuda; do
  cargo build --release -p vae2x-bench --features "$features,tuning" >&2
  name=vae2x-bench
  [[ $features == cuda ]] || name+=-llvm
  strip -o "$stage/$name" "$built"
done
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$stage/wheels" diffusers importlib_metadata "$crt" >&2
for wheel in "$stage"/wheels/*.whl; do
  case $wheel in
    *nvidia_cuda_crt*) python3 -m zipfile -e "$wheel" "$stage/unpacked" ;;
    *) python3 -m zipfile -e "$wheel" "$stage/python" ;;
  esac
done
rm -r "$stage/wheels"
mv "$stage/unpacked/nvidia/cu13" "$stage/crt"
rm -r "$stage/unpacked"
mkdir -p "$folder"
# One dictionary over both programs, which share most of their code.
tar -C "$stage" --sort=name -cf - . | xz -T1 --lzma2=preset=6e,dict=256MiB >"$folder/carry.tar.xz"
carried=$(wc -c <"$folder/carry.tar.xz")
checkout=$(git ls-files -z | xargs -0 cat | wc -c)
echo "$folder/carry.tar.xz: $((carried >> 20)) MiB, with the checkout $(((carried + checkout) >> 20)) MiB of $((limit >> 20)) MiB"
((carried + checkout <= limit))
