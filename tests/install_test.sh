#!/bin/sh
# What `make install` installs is enough to write a program: header, pkg-config file, shared and static library, manual;
# the command runs. The program is the one that README.md shows.
#     install_test.sh BUILD_FOLDER README.md MODEL_FOLDER
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; exit 1; }

cmake --install "$1" --prefix "$work/usr" >"$work/log" || { cat "$work/log"; exit 1; }
PKG_CONFIG_PATH=$(dirname "$(find "$work" -name llmlocal.pc)")
export PKG_CONFIG_PATH
library=$(pkg-config --variable=libdir llmlocal)

sed -n '/^```c$/,/^```$/{/^```/d;p}' "$2" | sed "s#path/to/an-mlx-model#$3#" >"$work/program.c"
# shellcheck disable=SC2046 # words
cc -std=c17 "$work/program.c" -o "$work/shared" $(pkg-config --cflags --libs llmlocal)
# shellcheck disable=SC2046
cc -std=c17 "$work/program.c" -o "$work/static" $(pkg-config --cflags llmlocal) "$library/libllmlocal.a" \
    $(pkg-config --libs --static llmlocal | sed 's/-lllmlocal//')
readelf -d "$work/shared" | grep -q 'NEEDED.*libllmlocal\.so\.0]' || fail "the library has no soname with a version"
if readelf -d "$work/static" | grep -q llmlocal; then fail "the static library was not used"; fi
for kind in shared static; do
    answer=$(LD_LIBRARY_PATH=$library "$work/$kind") || fail "the $kind program failed: $answer"
    [ -n "$answer" ] || fail "the $kind program said nothing"
done
"$work/usr/bin/llmlocal" --version >/dev/null || fail "the command does not run"
test -s "$work/usr/share/man/man1/llmlocal.1" || fail "the manual is missing"
