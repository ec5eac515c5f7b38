#!/usr/bin/env bash
# check.sh attention|c|pkgconfig|subproject|engine BUILD_DIR SOURCE_DIR COMPILER: installs into an empty folder and builds the consumer with it.
set -euo pipefail
part=$1 build=$2 source=$3 compiler=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" --component attention >/dev/null
if [ "$part" != engine ]; then
  find "$work/prefix" -path '*/licenses/rowmax/LICENSE' | grep -q . || { echo "the licence is not installed"; exit 1; }
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
# pc FOLDER ARGUMENTS...: pkg-config on the rowmax.pc below FOLDER, and nothing else.
pc() {
  PKG_CONFIG_LIBDIR=$(dirname "$(find "$1" -name rowmax.pc)") pkg-config "${@:2}" rowmax
}
if [ "$part" = pkgconfig ]; then
  mv "$work/prefix" "$work/moved"
  flags=$(pc "$work/moved" --cflags) libs=$(pc "$work/moved" --libs) libdir=$(pc "$work/moved" --variable=libdir)
  cc -std=c99 -Wall -Wextra -Wpedantic -Werror $flags "$source/tests/consumer/c/consumer.c" -o "$work/consumer" $libs -pthread -lm
  LD_LIBRARY_PATH=$libdir "$work/consumer"
  # A library folder of other depth: the file alone, as configured.
  cmake -G Ninja -S "$source" -B "$work/deep" -DROWMAX_ENGINE=OFF -DROWMAX_TESTS=OFF -DCMAKE_INSTALL_LIBDIR=a/b/c \
    -DCMAKE_CXX_COMPILER="$compiler" >/dev/null
  mkdir -p "$work/other/a/b/c/pkgconfig"
  cp "$work/deep/rowmax.pc" "$work/other/a/b/c/pkgconfig"
  found=$(realpath -m "$(pc "$work/other" --variable=libdir)")
  [ "$found" = "$work/other/a/b/c" ] || { echo "rowmax.pc below a/b/c says that its libraries are in $found"; exit 1; }
elif [ "$part" = subproject ]; then
  # It is the parent's flags that hold, here those of a debug build, which compile in a third of the time of CMake's -O3.
  consumer "$work/build" -DROWMAX_SOURCE="$source" -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=
  "$work/build/c_consumer"
elif [ "$part" = c ]; then
  consumer "$work/static" -DCMAKE_CXX_COMPILER="$compiler"
  consumer "$work/shared" -DSHARED=ON
else
  consumer "$work/build" -DCMAKE_CXX_COMPILER="$compiler"
fi
