#!/bin/sh
# usage: build.sh COMPILER OUTPUT     with PKG_CONFIG_PATH set to where rapt.pc was installed
set -eu
here=$(dirname "$0")
"$1" -std=c++20 -O2 "$here/../program.cpp" -o "$2" $(pkg-config --cflags --libs --static rapt)
