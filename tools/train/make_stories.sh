#!/usr/bin/env bash
# make_stories.sh WORK: trains models/stories.gguf from nothing (or from WORK's checkpoint) and writes its evidence.
# Needs a Python with torch, numpy and tokenizers (PYTHON names it). Further arguments go to train.py.
# Afterwards build, store what the new model tells (rowmax run -q --isa scalar -t 1 >tests/golden/stories.txt) and the
# hash that rowmax_runtime_test --gtest_filter='StoriesModel.*' then finds in engine/runtime/stories_test.cc.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
models=$here/../../models
work=$1
shift
python=${PYTHON:-python3}
"$python" "$here/train.py" --work "$work" "$@"
"$python" "$here/export.py" --work "$work" --out "$models/stories.gguf"
"$python" "$here/oracle.py" --work "$work" --model "$models/stories.gguf" --golden "$here/../../tests/golden/stories.golden" | tee "$work/oracle.txt"
"$python" "$here/evaluate.py" --work "$work" --out "$work/evaluation.txt"
"$python" "$here/report.py" --work "$work" --model "$models/stories.gguf" --out "$models/README.md"
