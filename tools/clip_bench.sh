#!/usr/bin/env bash
# Time and memory of decoding a short clip and a single frame with two builds of vae2x, side by side.
#
#   tools/clip_bench.sh OLD_BINARY NEW_BINARY
#
# 32x32 latent cells (256x256 pixels, 512x512 decoded), base width 96, 12 output channels, weights by formula: a clip of 2 latent
# frames, which are 5 frames, and one frame. Builds take turns, so that a drifting machine shows in both. Every time is the
# minimum of RUNS runs (5) after a warm-up: `decode` and `load` as --timings reports them, `wall` of the whole process by
# /usr/bin/time; memory is the largest peak of the runs by either. THREADS limits the threads.
set -euo pipefail
export LC_ALL=C
if [ $# -ne 2 ]; then
  echo "usage: $0 OLD_BINARY NEW_BINARY" >&2
  exit 2
fi
[ -x /usr/bin/time ] || { echo "/usr/bin/time is missing (Debian: apt-get install time)" >&2; exit 1; }
declare -A binary=([old]=$(realpath "$1") [new]=$(realpath "$2"))
cd "$(dirname "$0")/.."
runs=${RUNS:-5}
threads=(${THREADS:+--threads "$THREADS"})
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cells=$((32 * 32))
cargo run --release -q -p vae2x-bench -- weights "$work/w.safetensors" >&2

# A raw latent of $1 latent frames as an npy file: values of a real one, in whatever order.
latent() {
  local dict="{'descr': '<f4', 'fortran_order': False, 'shape': (1, 16, $1, 32, 32), }"
  # Magic, version and length of the header fill 10 of its 128 bytes.
  printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$dict"
  # The file ends with 16 channels of 40x64 cells.
  local file=tests/fixtures/data/wan_cheesecake_frame0.latent bytes=$((16 * $1 * cells * 4))
  head -c $(($(wc -c <"$file") - 16 * 40 * 64 * 4 + bytes)) "$file" | tail -c "$bytes"
}
latent 1 >"$work/frame.npy"
latent 2 >"$work/clip.npy"

# Decodes $2 with build $1 once and appends "decode load wall rss_by_timings rss_by_time" to a file.
run() {
  /usr/bin/time -o "$work/time" -f '%e %M' "${binary[$1]}" decode "$work/$2.npy" --latent-space raw --vae "$work/w.safetensors" \
    --device cpu "${threads[@]}" --timings "$work/t.json" -o "$work/$1_$2_out.npy" >/dev/null 2>"$work/said" ||
    { cat "$work/said" >&2; return 1; }
  local value
  value() { sed -nE "s/.*\"$1\": ([0-9.]+).*/\1/p" "$work/t.json"; }
  echo "$(value decode_s) $(value load_s) $(cut -d' ' -f1 "$work/time") $(value peak_rss_bytes) $(cut -d' ' -f2 "$work/time")" \
    >>"$work/$1_$2"
}

# The least or the largest of column $3 of build $1 on $2.
least() { cut -d' ' -f"$3" "$work/$1_$2" | sort -g | head -n 1; }
largest() { cut -d' ' -f"$3" "$work/$1_$2" | sort -g | tail -n 1; }

echo "| what | build | decode, s | load, s | wall, s | peak by --timings, MB | peak by time, MB |"
echo "|---|---|---|---|---|---|---|"
for what in frame clip; do
  for ((i = 0; i <= runs; i++)); do
    for build in old new; do
      run "$build" "$what"
      [ "$i" -gt 0 ] || rm "$work/${build}_$what"
    done
  done
  for build in old new; do
    printf '| %s | %s | %.3f | %.3f | %s | %d | %d |\n' "$what" "$build" "$(least "$build" "$what" 1)" "$(least "$build" "$what" 2)" \
      "$(least "$build" "$what" 3)" $(($(largest "$build" "$what" 4) / 1000000)) $(($(largest "$build" "$what" 5) * 1024 / 1000000))
  done
  if cmp -s "$work/old_${what}_out.npy" "$work/new_${what}_out.npy"; then
    echo "$what: the pixels are the same to the bit" >&2
  else
    echo "$what: the pixels differ" >&2
  fi
done
