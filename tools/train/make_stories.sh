#!/usr/bin/env bash
# make_stories.sh WORK: trains models/stories.gguf from nothing (or from WORK's checkpoint) and writes its evidence.
# Needs a Python with torch, numpy and tokenizers (PYTHON names it). Further arguments go to train.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
models=$here/../../models
work=$1
shift
python=${PYTHON:-python3}
"$python" "$here/train.py" --work "$work" "$@"
"$python" "$here/export.py" --work "$work" --out "$models/stories.gguf"
"$python" "$here/oracle.py" --work "$work" --model "$models/stories.gguf" --golden "$models/stories.golden" | tee "$work/oracle.txt"
"$python" "$here/evaluate.py" --work "$work" --out "$work/evaluation.txt"
"$python" "$here/report.py" --work "$work" --model "$models/stories.gguf" --out "$models/README.md"
