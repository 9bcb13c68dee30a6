#!/usr/bin/env bash
# All that a GPU has to show: the tests that need a GPU, and the benchmarks, each without and with the recorded step. It runs
# from a bare checkout with CuPy, PyTorch, NumPy and pytest, and leaves its figures in the folder given (by default
# gpu-results). `--short` is for ten minutes.
set -uo pipefail
cd "$(dirname "$0")/.."
short=
if [ "${1:-}" = --short ]; then short=1; shift; fi
results=${1:-gpu-results}
mkdir -p "$results"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
python=${PYTHON:-python3}
status=0
title() { printf '\n== %s\n' "$*"; }

title "the machine"
nvidia-smi || true
"$python" -c 'import numpy, cupy; print("NumPy", numpy.__version__); cupy.show_config()' || status=1
"$python" -c 'import torch; print("PyTorch", torch.__version__, torch.version.cuda)' || true

title "the tests: those of training run twice, unrecorded and recorded"
"$python" -m pytest --noconftest -W default -q -s -m gpu tests/test_gpu.py 2>&1 | tee "$results/tests.txt" || status=1

title "float32 without TF32"
if [ "$short" ]; then few=(--rounds 2 --epochs 3 --batches 64,8192 --only eager,graph); else few=(); fi
"$python" benchmarks/gpu.py "${few[@]}" --json "$results/float32.json" 2>&1 | tee "$results/float32.txt" || status=1

title "float32 with TF32"
"$python" benchmarks/gpu.py --tf32 "${few[@]}" --json "$results/tf32.json" 2>&1 | tee "$results/tf32.txt" || status=1

title "from which size on it pays"
"$python" benchmarks/gpu.py --crossover --json "$results/crossover.json" 2>&1 | tee "$results/crossover.txt" || status=1

title "done, status $status"
exit $status
