#!/usr/bin/env bash
# Builds the Python wheel, installs it into a fresh virtual environment, and runs its tests, those of ComfyUI's nodes without ComfyUI,
# and mypy there.
#
#   tools/python/test.sh [--python PROGRAM] [--with "PACKAGE ..."] [--site FOLDER] [PYTEST ARGUMENT ...]
#
# Tests of PyTorch and diffusers are skipped, which is printed, unless these are there: `--with "torch diffusers transformers"`
# installs them, and `--site` takes them from another environment of the same Python. Exit code 3: there is no Python, or no
# packages can be had.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=python3 packages="" site=""
while [ $# -gt 0 ]; do
  case $1 in
    --python) python=$2; shift 2 ;;
    --with) packages=$2; shift 2 ;;
    --site) site=$2; shift 2 ;;
    *) break ;;
  esac
done

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || ! "$python" -m venv "$work/tools" 2>/dev/null; then
  echo "there is no Python 3.10 or newer with venv; the Python package is not tested" >&2
  exit 3
fi
if ! "$work/tools/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.16,<2' 'mypy>=2' 'numpy>=2' >"$work/log" 2>&1; then
  echo "maturin cannot be installed; the Python package is not tested: $(tail -n 1 "$work/log")" >&2
  exit 3
fi
"$work/tools/bin/maturin" build --release --locked --quiet --manifest-path crates/python/Cargo.toml --out "$work/wheel"
ls -sh "$work/wheel"
"$python" -m venv "$work/venv"
# shellcheck disable=SC2086
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "$work"/wheel/*.whl pytest av $packages
if [ -n "$site" ]; then
  "$work/venv/bin/python" -c 'import sys, sysconfig; open(sysconfig.get_path("purelib") + "/site.pth", "w").write(sys.argv[1])' "$site"
fi
cd crates/python
"$work/tools/bin/mypy" --cache-dir "$work/mypy"
"$work/venv/bin/python" -m pytest -q -rs -p no:cacheprovider "$@"
cd ../../comfyui
"$work/venv/bin/python" -m pytest -q -rs -p no:cacheprovider
