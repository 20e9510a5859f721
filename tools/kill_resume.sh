#!/usr/bin/env bash
# Kills a small training run at random moments, resumes it each time, and compares with a run that was left alone:
#
#     tools/kill_resume.sh PHOTOS [KILLS]
#
# The log must hold every step once and the same numbers, the last checkpoint the same tensors to the bit; a run that ends before it
# was killed often enough is a failure too. The seed of the moments is SEED (0 if not set). Needs a release build with the feature `train`, and cmp.
set -euo pipefail
photos=${1:?usage: kill_resume.sh PHOTOS [KILLS]}
kills=${2:-20}
RANDOM=${SEED:-0}
vae2x=${VAE2X:-target/release/vae2x}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
steps=$((kills * 15))
# Both take the place of the shell that calls them, so that a kill reaches the program itself.
new() {
  exec "$vae2x" train decoder --config configs/tiny_cpu.toml --no-tui --out "$1" --set "data.photos=[\"$photos\"]" \
    --set data.crop=64 --set loss.fdl=0.1 --set loss.vgg19=random:0 --set loss.vgg_crop=16 --set loss.fdl_options.patch=3 \
    --set loss.fdl_options.projections=4 --set "loss.fdl_options.layer_weights=[1.0, 1.0]" --set train.batch=1 --set train.steps=$steps --set data.cache=0 --set data.min_side=64 \
    --set gan.weight=0.05 --set gan.width=8 --set gan.start=3 --set gan.warmup=2 --set eval.size=64 --set data.crops_per_photo=3 --set data.shuffle=6 \
    --set log.every=1 --set log.eval_every=7 --set log.checkpoint_every=2
}
resume() { exec "$vae2x" train decoder --resume "$1" --no-tui; }

(new "$work/whole") >"$work/whole.log" 2>&1
new "$work/cut" >"$work/cut.log" 2>&1 &
killed=0
pid=$!
# Before that there is no run that could be resumed.
while [ ! -e "$work/cut/config.toml" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
while [ "$killed" -lt "$kills" ]; do
  sleep "$((RANDOM % 4)).$((RANDOM % 10))"
  kill -9 "$pid" 2>/dev/null || break
  wait "$pid" 2>/dev/null || true
  killed=$((killed + 1))
  resume "$work/cut" >>"$work/cut.log" 2>&1 &
  pid=$!
done
if [ "$killed" -lt "$kills" ]; then
  tail -n 5 "$work/cut.log" >&2
  echo "killed $killed times only: the run had ended; more steps are needed" >&2
  exit 1
fi
wait
(resume "$work/cut") >>"$work/cut.log" 2>&1
echo "killed $killed times; the log has $(grep -c . "$work/cut/log.jsonl") lines"

# What depends on the clock is left out.
numbers() { sed 's/"images_per_second":[^,}]*,\{0,1\}//' "$1/log.jsonl"; }
diff <(numbers "$work/whole") <(numbers "$work/cut")
echo "the logs agree"
name=step-$(printf %08d "$steps").safetensors
cmp "$work/whole/checkpoints/$name" "$work/cut/checkpoints/$name"
echo "the last checkpoints are equal to the bit"
