#!/usr/bin/env bash
# Trains on 2 machines with 4 GPUs each, as 8 processes. The run's folder, the photos and the weights are on a file system that all
# machines see. Five minutes before its time is over the run stores its state, and the job is queued again, to resume:
#
#   sbatch examples/cluster/train_slurm.sh configs/decoder_2x.toml runs/first
#
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=128G
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
config=$1
run=$2
if [ -e "$run/config.toml" ]; then
  arguments=(--resume "$run")
else
  arguments=(--config "$config" --out "$run")
fi
# A task sees its own GPU alone, so it is number 0 for each of them. `--kill-on-bad-exit` ends all tasks when one of them dies.
code=0
srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  vae2x train decoder "${arguments[@]}" --no-tui --device cuda:0 --threads "$SLURM_CPUS_PER_TASK" || code=$?
# 143: the run was stopped by SIGTERM, and has stored its state.
if [ "$code" -eq 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
