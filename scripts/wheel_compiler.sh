#!/bin/sh
# The compiler of scripts/wheels.sh: GCC for the kernels of an instruction set, which clang makes up to 1.5 times as slow
# (float32, AVX2), and zig for everything else and for linking. Those kernels use nothing of a C++ library.
for word; do
  case "$word" in
    */csrc/kernels/select.cc | */csrc/kernels/caches.cc) break ;;
    */csrc/kernels/*.cc) exec $GCC "$@" ;;
  esac
done
exec $ZIG "$@"
