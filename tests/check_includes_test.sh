#!/bin/sh
# The include check passes on the sources, and fails on each kind of wrong include.
set -eu
cd "$(dirname "$0")/.."
sh tools/check_includes.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/base" "$work/text" "$work/cli" "$work/nn"
try() { # layer, include: must be refused
    rm -f "$work"/*/x.c
    echo "#include \"$2\"" >"$work/$1/x.c"
    if sh tools/check_includes.sh "$work" >/dev/null; then echo "$1 may not include $2, but passed"; exit 1; fi
}
try base client/spec.h
try text nn/model.h
try cli base/buf.h
try nn engine/cpu/pack.h
try text tokenizer.h
rm -f "$work"/*/x.c
echo '#include "base/buf.h"' >"$work/text/x.c"
sh tools/check_includes.sh "$work"
