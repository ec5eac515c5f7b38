#!/usr/bin/env bash
# old_cpu.sh QEMU PROGRAM ARGUMENT...: runs the program on an x86-64 of 2008 (SSE4.2, no AVX).
case $1 in
  */qemu-x86_64) exec "$1" -cpu Nehalem "${@:2}" ;;
esac
echo "skipped: qemu-user is not installed"
exit 77
