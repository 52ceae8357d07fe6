#!/bin/sh
# Packs what a machine with an NVIDIA GPU, NVIDIA's libraries and Python 3.12, but no network, needs to run and to measure the
# MLX engine there, beside mlx-lm: the command, the plugin for CUDA, MLX, mlx-lm, a model.
#     tools/bundle_cuda.sh FOLDER MODEL_FOLDER
# makes FOLDER/bundle.aa, .ab, ... of 60 MB each. tools/bench_cuda.sh unpacks them there.
set -eu
cd "$(dirname "$0")/.."
[ $# -eq 2 ] || { echo "usage: tools/bundle_cuda.sh FOLDER MODEL_FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd) model=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mlx=$(MLX_WITHOUT_NVIDIA=1 sh tools/fetch_mlx.sh cuda)
cmake -S . -B build-cuda -DLLMLOCAL_TESTS=OFF -DLLMLOCAL_EXAMPLES=OFF -DLLMLOCAL_MLX=ON -DLLMLOCAL_MLX_DIR="$mlx" >&2
make -C build-cuda -j"${JOBS:-2}" llmlocal-cli llmlocal-mlx >&2
mkdir -p "$work/lib" "$work/wheels"
cp build-cuda/llmlocal build-cuda/libllmlocal-mlx.so "$work"
# The command's libraries, but for the C library's own.
ldd build-cuda/llmlocal | awk '$3 ~ /^\// && $1 !~ /^lib(c|m|dl|pthread|rt)\.so/ {print $3}' | xargs -I{} cp -L {} "$work/lib"
python3 -m pip download -q --no-deps --only-binary :all: --python-version 3.12 --implementation cp --platform manylinux_2_35_x86_64 \
    -d "$work/wheels" mlx==0.32.4 mlx-lm==0.32.2 mlx-cuda-13==0.32.4 >&2
cp -r "$model" "$work/model"
rm -f "$folder"/bundle.*
tar -C "$work" -cf - . | split -b 60000000 - "$folder/bundle."
ls -l "$folder" >&2
