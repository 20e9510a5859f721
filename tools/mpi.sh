#!/usr/bin/env bash
# Tests training in several processes: installs Open MPI and libclang from Debian's packages where they are missing, builds the program
# with its feature `mpi`, and runs its tests under `mpirun`, with 2 to 4 processes on this machine.
#
#   tools/mpi.sh
#
# Not a part of .ci/run: it builds burn's crates for one more program, and each test is a run of its own. Exits with 3 where the
# packages cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v mpirun >/dev/null || missing+=(openmpi-bin)
command -v mpicc >/dev/null || missing+=(libopenmpi-dev)
# rsmpi's build reads mpi.h with it.
compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || ldconfig -p | grep -q libclang || missing+=(libclang-dev)
if [ ${#missing[@]} -gt 0 ]; then
  log=$(mktemp)
  if ! (apt-get update && apt-get install -y "${missing[@]}") >"$log" 2>&1; then
    echo "${missing[*]} cannot be installed: $(tail -n 1 "$log")" >&2
    rm "$log"
    exit 3
  fi
  rm "$log"
fi
mpirun --version | head -n 1
features=train,text,mp4,mpi
cargo test --release --workspace --features "$features" --test ranks
cargo test --release --workspace --features "$features" --lib -- decoder::mpi decoder::meeting decoder::processes commands::processes
cargo test --release --workspace --features "$features" --test mpi -- --nocapture
