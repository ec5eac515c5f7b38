#!/usr/bin/env bash
# build.sh SOURCE_DIR PRESET TARGET...: configures and builds; 77 (skipped) where the compiler is not installed.
set -euo pipefail
source=$1 preset=$2
shift 2
skip() { echo "skipped: $*"; exit 77; }
case $preset in
  aarch64)
    command -v aarch64-linux-gnu-g++ >/dev/null || skip "no AArch64 cross compiler"
    command -v qemu-aarch64 >/dev/null || skip "no qemu-user" ;;
  clang) command -v clang++ >/dev/null || skip "no clang" ;;
  clang19) command -v clang++-19 >/dev/null || skip "no clang 19" ;;
  fuzz)
    command -v clang++ >/dev/null || skip "no clang"
    probe=$(mktemp)
    trap 'rm -f "$probe"' EXIT
    echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
      clang++ -fsanitize=fuzzer,address -x c++ - -o "$probe" 2>/dev/null || skip "clang has no libFuzzer runtime" ;;
esac
cd "$source"
cmake --preset "$preset" -DROWMAX_OTHER_BUILDS=OFF >"build/$preset.log" 2>&1 || { cat "build/$preset.log"; exit 1; }
cmake --build "build/$preset" --target "$@" >>"build/$preset.log" 2>&1 ||
  { grep -aE -A8 'error|FAILED' "build/$preset.log" | tail -n 60; exit 1; }
