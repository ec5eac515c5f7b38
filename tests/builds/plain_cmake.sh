#!/usr/bin/env bash
# plain_cmake.sh SOURCE_DIR COMPILER: what somebody gets who types `cmake -S . -B build`, and a project that adds the folder,
# both without a build type: kernels are optimised, and warnings of another compiler stop nothing.
set -euo pipefail
source=$1 compiler=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/parent"
printf 'cmake_minimum_required(VERSION 3.25)\nproject(parent CXX C)\nadd_subdirectory(%s rowmax)\n' "$source" \
  >"$work/parent/CMakeLists.txt"
checked=0
for from in "$source" "$work/parent"; do
  build=$work/build$checked
  cmake -G Ninja -S "$from" -B "$build" -DROWMAX_ENGINE=OFF -DROWMAX_TESTS=OFF -DCMAKE_CXX_COMPILER="$compiler" \
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >/dev/null
  command=$(grep -h '"command"' "$build/compile_commands.json" | grep 'together/rowmax_attention/' | head -n 1)
  [ -n "$command" ] || { echo "no compile command of attention's files in $from"; exit 1; }
  grep -qE ' -O[23] ' <<<"$command" || { echo "not optimised: $command"; exit 1; }
  if grep -q -- '-Werror' <<<"$command"; then echo "-Werror for everybody: $command"; exit 1; fi
  checked=$((checked + 1))
done
echo "$checked configurations are optimised and forgiving"
