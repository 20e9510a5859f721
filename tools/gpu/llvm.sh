#!/usr/bin/env bash
# Brings LLVM 23, which building with the feature `cuda` takes, from PyPI instead of GitHub, and prints the variable to build with:
#
#   eval "$(tools/gpu/llvm.sh)"; cargo build --release --features cuda
#
# CubeCL's build script (tracel-llvm-bundler 23.1.0-4) fetches an archive of LLVM from GitHub unless a marker file says that it is
# there. The package `mlc-llvm-static` (Apache-2.0 with LLVM's exception; static libraries for x86-64 and arm64 Linux, 90 MB to
# fetch) has the same version with the back-end for NVIDIA's GPUs. It is linked into the program, which then needs nothing of it.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=23.1.1.post0
bundle=tracel-llvm-23.1.0-4
folder=${CARGO_TARGET_DIR:-$PWD/target}/llvm-$version
if [[ ! -e $folder/data/tracel/$bundle ]]; then
  {
    rm -rf "$folder"
    python3 -m venv "$folder/python"
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check "mlc-llvm-static[all]==$version"
    static=$("$folder/python/bin/python" -c 'import mlc_llvm_static as m; print(m.__path__[0])')/static
    touch "$static/.tracel-llvm-installed"
    mkdir -p "$folder/data/tracel"
    ln -s "$static" "$folder/data/tracel/$bundle"
  } >&2
fi
echo "export XDG_DATA_HOME=$folder/data"
