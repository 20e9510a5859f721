#!/usr/bin/env bash
# Fuzzes the readers of files and of a hub's answers for SECONDS each (default 60), with a nightly compiler and libFuzzer. Without a
# nightly compiler, which nothing else needs, it prints that fuzzing is skipped.
#
#   tools/fuzz.sh [SECONDS [TARGET...]]
#
# Without a TARGET, all but `mp4`, which compiles OpenH264.
set -euo pipefail
seconds=${1:-60}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(tensor_file vae_weights latent image y4m photos pairs runs hub_answers)
cd "$(dirname "$0")/../fuzz"
if ! cargo +nightly --version >/dev/null 2>&1; then
  echo "fuzzing skipped: no nightly compiler (the bounded random runs of the tests cover the same readers)"
  exit 0
fi
# What cargo-fuzz passes, without the address sanitizer: the readers have no unsafe code. OpenH264, behind that of MP4, is C++, of
# which only crashes are seen.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}
features=()
[[ " ${targets[*]} " != *" mp4 "* ]] || features=(--features mp4)
cargo +nightly build --release --target "$host" ${features[@]+"${features[@]}"}
for name in "${targets[@]}"; do
  case $name in
    image) kinds=(-name '*.png' -o -name '*.jpg' -o -name '*.webp' -o -name '*.exr' -o -name '*.bmp') ;;
    *) kinds=(-name '*.safetensors' -o -name '*.latent' -o -name '*.npy' -o -name '*.pth') ;;
  esac
  corpus="corpus/$name"
  mkdir -p "$corpus" artifacts
  # Small files of every kind that the readers know, each under its folder's name, as several have the same one.
  find ../tests/fixtures ../crates/*/assets -type f -size -200k \( "${kinds[@]}" \) | while read -r seed; do
    cp "$seed" "$corpus/$(basename "$(dirname "$seed")")-$(basename "$seed")"
  done
  # Small files of what has no fixtures.
  if [ -d "seeds/$name" ]; then cp "seeds/$name"/* "$corpus"; fi
  "$target/$host/release/$name" "$corpus" -max_total_time="$seconds" -max_len=200000 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=512 \
    -artifact_prefix=artifacts/ -print_final_stats=1 2>&1 | grep -E '^(stat::|==|SUMMARY|ERROR|artifact)|panicked' 
done
