#!/usr/bin/env bash
# llama_driver.sh llama|ik|bitnet SOURCE BUILD OUT: compiles llama_driver.cc against a built tree of that engine.
#   SOURCE: its checkout; BUILD: its build folder (libllama.so and libggml*.so are looked for in it).
set -euo pipefail
kind=$1 source=$2 build=$3 out=$4
case $kind in
  llama) define=() headers=("$source/include" "$source/ggml/include") ;;
  ik) define=(-DPEER_IK) headers=("$source/include" "$source/ggml/include") ;;
  bitnet) define=(-DPEER_BITNET) headers=("$source/3rdparty/llama.cpp/include" "$source/3rdparty/llama.cpp/ggml/include") ;;
  *) echo "llama, ik or bitnet?" >&2; exit 2 ;;
esac
link=()
while read -r library; do
  link+=("$library" "-Wl,-rpath,$(dirname "$(realpath "$library")")")
done < <(find "$(realpath "$build")" -name 'libllama.so' -o -name 'libggml.so' -o -name 'libggml-base.so')
${CXX:-g++} -std=c++17 -O2 "${define[@]}" "${headers[@]/#/-I}" "$(dirname "$0")/llama_driver.cc" "${link[@]}" -o "$out"
