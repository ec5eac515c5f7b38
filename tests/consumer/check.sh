#!/usr/bin/env bash
# check.sh attention|c|engine BUILD_DIR SOURCE_DIR COMPILER: installs into an empty folder and builds the consumer with it.
set -euo pipefail
part=$1 build=$2 source=$3 compiler=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" --component attention >/dev/null
if [ "$part" != engine ]; then
  # Nothing of the engine may come with the attention library.
  if find "$work/prefix" | grep -iE 'engine|runtime|gguf'; then echo "the attention component holds parts of the engine"; exit 1; fi
else
  cmake --install "$build" --prefix "$work/prefix" --component engine >/dev/null
fi
# consumer BUILD_FOLDER CMAKE_FLAGS...
consumer() {
  cmake -G Ninja -S "$source/tests/consumer/$part" -B "$1" -DCMAKE_PREFIX_PATH="$work/prefix" \
    -DCMAKE_BUILD_TYPE=Release "${@:2}" >/dev/null
  cmake --build "$1" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  "$1/consumer" "$source/tests/golden/llama_bias.gguf"
}
if [ "$part" = c ]; then
  consumer "$work/static" -DCMAKE_CXX_COMPILER="$compiler"
  consumer "$work/shared" -DSHARED=ON
else
  consumer "$work/build" -DCMAKE_CXX_COMPILER="$compiler"
fi
