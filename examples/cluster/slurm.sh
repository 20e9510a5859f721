#!/usr/bin/env bash
# A batch as a Slurm array of 64 shards. A shard that was cut off goes on where it stopped when it is submitted again:
#
#   sbatch examples/cluster/slurm.sh decode latents/ -o images/ --vae spacepxl/Wan2.1-VAE-upscale2x
#
#SBATCH --array=0-63
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail
exec vae2x "$@" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --threads "$SLURM_CPUS_PER_TASK" --skip-existing
