#!/bin/sh
# What `make install` installs is enough to write a program: header, pkg-config file, shared and static library; and
# the command runs.
#     install_test.sh BUILD_FOLDER EXAMPLE.c
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$1" --prefix "$work/usr" >"$work/log" || { cat "$work/log"; exit 1; }
export PKG_CONFIG_PATH="$(dirname "$(find "$work" -name llmlocal.pc)")"
library=$(pkg-config --variable=libdir llmlocal)
# shellcheck disable=SC2046 # words
cc -std=c17 "$2" -o "$work/shared" $(pkg-config --cflags --libs llmlocal)
cc -std=c17 "$2" -o "$work/static" $(pkg-config --cflags llmlocal) "$library/libllmlocal.a" \
    $(pkg-config --libs --static llmlocal | sed 's/-lllmlocal//')
for kind in shared static; do
    said=$(LD_LIBRARY_PATH=$library "$work/$kind")
    case $said in *"[5 letters]"*) ;; *) echo "the $kind program said: $said"; exit 1 ;; esac
done
readelf -d "$work/shared" | grep -q 'NEEDED.*libllmlocal\.so\.0]' || { echo "the library has no soname with a version"; exit 1; }
if readelf -d "$work/static" | grep -q llmlocal; then echo "the static library was not used"; exit 1; fi
"$work/usr/bin/llmlocal" --version
test -s "$work/usr/share/man/man1/llmlocal.1"
