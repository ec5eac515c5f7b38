#!/usr/bin/env bash
# run.sh SOURCE_DIR PRESET PROGRAM ARGUMENT...: runs a program of another configuration; 77 where it was not built.
set -euo pipefail
source=$1 preset=$2 program=$3
shift 3
path=$(find "$source/build/$preset" -name "$program" -type f -perm -u+x 2>/dev/null | head -n 1)
[ -n "$path" ] || { echo "skipped: $program was not built for $preset"; exit 77; }
export ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=allocator_may_return_null=1
case $preset/$program in
  aarch64/*) export ROWMAX_EMULATED=1; exec qemu-aarch64 -L /usr/aarch64-linux-gnu "$path" "$@" ;;
  */*_fuzz)
    # What earlier runs found is kept; the test data of the source's folder are the first inputs.
    corpus=$source/build/$preset/corpus/$program
    mkdir -p "$corpus"
    seeds=$(dirname "$(find "$source/attention" "$source/engine" "$source/apps" -name "$program.cc")")/testdata
    exec "$path" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$corpus.crash-" \
      "$@" "$corpus" $([ ! -d "$seeds" ] || echo "$seeds") ;;
  *) exec "$path" "$@" ;;
esac
