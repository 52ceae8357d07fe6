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
    for line in "#include \"$2\"" "  #  include <$2> // \"quoted\"" "#include \"$1/../$2\""; do
        echo "$line" >"$work/$1/x.c"
        if sh tools/check_includes.sh "$work" >/dev/null; then echo "$1 may not include $2, but passed: $line"; exit 1; fi
    done
}
try base client/spec.h
try text nn/model.h
try cli base/buf.h
try nn engine/cpu/pack.h
rm -f "$work"/*/x.c
echo '#include "tokenizer.h"' >"$work/text/x.c"
if sh tools/check_includes.sh "$work" >/dev/null; then echo "an include without its layer passed"; exit 1; fi
printf '#include "base/buf.h"\n#include <stdio.h>\n#include <sys/stat.h> // "x"\n#include "llmlocal.h"\n' >"$work/text/x.c"
sh tools/check_includes.sh "$work"
