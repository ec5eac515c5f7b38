#!/usr/bin/env bash
# Line coverage of the attention library by its own tests.
#   tools/coverage.sh [--min PERCENT] [--build DIR] [--jobs N]      default: 95, build/coverage, all processors
# Prints lines covered for each file of attention/ and include/rowmax and the total; exits with 1 where the total is below
# the minimum. Needs gcc and its gcov, CMake, Ninja and GoogleTest; Full_ suites do not run.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
minimum=95 build=$top/build/coverage jobs=
while [ $# -gt 0 ]; do
  case $1 in
    --min) minimum=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    *) sed -n '2,5p' "$0" | cut -c3-; exit 2 ;;
  esac
done
# Counters are added without locks: only whether a line ran is asked.
cmake -S "$top" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_COMPILER=g++ -DCMAKE_C_COMPILER=gcc \
  -DCMAKE_CXX_FLAGS_DEBUG="-O1 --coverage" -DROWMAX_ENGINE=OFF -DROWMAX_TESTS=ON -DROWMAX_OTHER_BUILDS=OFF >/dev/null
cmake --build "$build" --target rowmax_attention_test ${jobs:+-j "$jobs"}
find "$build" -name '*.gcda' -delete
"$build/rowmax_attention_test" --gtest_filter='-*Full_*' --gtest_brief=1
python3 -B "$top/tools/coverage_summary.py" "$top" "$build" "$minimum"
