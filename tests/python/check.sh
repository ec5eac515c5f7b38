#!/usr/bin/env bash
# check.sh PYTHON BUILD_DIR SOURCE_DIR COMPILER: builds bindings/python and runs its tests, in a virtual environment in
# the build folder that is kept for the next run. 77: skipped, with the reason.
set -euo pipefail
python=$1 build=$2 source=$3 compiler=$4
needs=$source/bindings/python/tests/requirements.txt
venv=$build/python/venv

skip() { echo "skipped: $*"; exit 77; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || skip "Python is older than 3.9"
"$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))' ||
  skip "Python.h is missing (Debian: python3-dev)"
if ! cmp -s "$needs" "$venv/requirements.txt"; then
  rm -rf "$venv"
  "$python" -m venv "$venv" || skip "no virtual environment can be made (Debian: python3-venv)"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --retries 1 -r "$needs" ||
    skip "nanobind, scikit-build-core, numpy and pytest of $needs could not be fetched: no network?"
  cp "$needs" "$venv/requirements.txt"
fi

prefix=$build/python/prefix
rm -rf "$prefix"
cmake --install "$build" --prefix "$prefix" --component attention >/dev/null
CXX=$compiler "$venv/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall \
  --config-settings=build-dir="$build/python/module" --config-settings=cmake.define.ROWMAX_PYTHON_FIND=ON \
  --config-settings=cmake.define.CMAKE_PREFIX_PATH="$prefix" "$source/bindings/python"
cd "$source/bindings/python"
"$venv/bin/python" -B -m pytest -q -p no:cacheprovider -rs tests

# The conformance suite: its data is what its scripts make, and rowmax passes it.
"$venv/bin/python" -B "$source/conformance/generate.py" --check
"$venv/bin/python" -B "$source/conformance/run.py" "$source/conformance/adapters/rowmax_attention.py"
