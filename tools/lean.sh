#!/usr/bin/env bash
# Fails unless the program with its default features stays lean: no deep-learning framework, no tokenizer, few crates.
#
#   tools/lean.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# With room for a small crate or two; what needs more should say why.
most=160
crates=$(cargo tree --locked -e normal,build --prefix none | sed 's/ (\*)$//' | sort -u)
count=$(wc -l <<<"$crates")
heavy=$(grep -E '^(burn|cubecl|tokenizers|tch|wgpu)([ -]|$)' <<<"$crates" || true)
if [ -n "$heavy" ]; then
  echo "the default build has crates that belong behind features: ${heavy//$'\n'/, }" >&2
  exit 1
fi
if [ "$count" -gt "$most" ]; then
  echo "the default build has $count crates, more than $most" >&2
  exit 1
fi
echo "the default build has $count crates"
