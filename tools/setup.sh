# Sourced by ./run, ./test and .ci/run. Needs bash.

say() { printf '%s\n' "$*" >&2; }

# need_packages PACKAGE...: the Debian packages that must be there. Installs what is missing as root or through sudo,
# after saying so; otherwise prints the one line to type and ends the script.
need_packages() {
  command -v dpkg-query >/dev/null || { need_programs; return; }
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    # Without a terminal sudo could not ask for a password.
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      as_root=(sudo)
    else
      say "These Debian packages are missing. As root, type:"
      say "  apt-get install --no-install-recommends ${missing[*]}"
      exit 1
    fi
  fi
  say "Installing Debian packages${as_root[0]:+ with sudo}: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get -qq update &&
         "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
           apt-get -qq install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    say "apt-get failed (whole log: $log)"
    exit 1
  fi
  rm -f "$log"
}

# Where there is no dpkg: the programs that the build cannot do without.
need_programs() {
  local program
  for program in cmake ninja g++ python3; do
    command -v "$program" >/dev/null || { say "$program is missing; README.md lists what rowmax needs"; exit 1; }
  done
}

# build PRESET TARGET...: configures where needed and builds. Says how far it is: on a terminal in one line that changes,
# elsewhere in a line every 15 seconds. The log is shown on failure.
build() {
  local preset=$1 folder=$top/build/$1 log=$top/build/$1.log status=0 start=$SECONDS said=$SECONDS line
  shift
  mkdir -p "$top/build"
  : >"$log"
  if [ ! -f "$folder/build.ninja" ]; then
    (cd "$top" && cmake --preset "$preset" "${configure_flags[@]}") >>"$log" 2>&1 || status=$?
  fi
  if [ $status = 0 ]; then
    [ -t 2 ] || say "Building $preset (log: build/$preset.log)"
    NINJA_STATUS='[%f/%t] ' cmake --build "$folder" --target "$@" >>"$log" 2>&1 &
    local ninja=$!
    while kill -0 $ninja 2>/dev/null; do
      sleep 0.3
      line=$(tail -c 4000 "$log" | sed -nE 's/^\[([0-9]+)\/([0-9]+)\].*/\1 of \2/p' | tail -n 1)
      [ -n "$line" ] || continue
      line="Building $preset: $line steps, $((SECONDS - start)) s"
      if [ -t 2 ]; then
        printf '\r\033[K%s' "$line" >&2
      elif [ $((SECONDS - said)) -ge 15 ]; then
        said=$SECONDS
        say "$line"
      fi
    done
    wait $ninja || status=$?
    [ ! -t 2 ] || printf '\r\033[K' >&2
  fi
  [ $status = 0 ] && return 0
  grep -aE -A8 'error|FAILED|Error' "$log" | tail -n 40 >&2
  say "The build failed; the whole log is $log"
  exit 1
}
configure_flags=()

build_packages=(g++ cmake ninja-build libcli11-dev nlohmann-json3-dev libedit-dev libboost-dev libcurl4-openssl-dev
                libssl-dev python3 python3-pip ca-certificates)
# What the tests' own build, its configuration and the checks before it look for; the rest is for tests.
first_packages=("${build_packages[@]}" ccache libgtest-dev clang-format qemu-user git)
test_packages=("${first_packages[@]}" googletest clang libclang-rt-14-dev g++-aarch64-linux-gnu python3-dev python3-venv valgrind pkgconf)
