#!/usr/bin/env bash
# check.sh attention|engine BUILD_DIR SOURCE_DIR COMPILER: installs into an empty folder and builds the consumer with it.
set -euo pipefail
part=$1 build=$2 source=$3 compiler=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" --component attention >/dev/null
if [ "$part" = attention ]; then
  # Nothing of the engine may come with the attention library.
  if find "$work/prefix" | grep -iE 'engine|runtime|gguf'; then echo "the attention component holds parts of the engine"; exit 1; fi
else
  cmake --install "$build" --prefix "$work/prefix" --component engine >/dev/null
fi
cmake -G Ninja -S "$source/tests/consumer/$part" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$work/build" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/build/consumer" "$source/tests/golden/llama_bias.gguf"
