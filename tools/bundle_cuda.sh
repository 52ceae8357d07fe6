#!/bin/sh
# Packs what a machine with an NVIDIA GPU, NVIDIA's libraries and Python 3.12, but no network, needs to run and to measure the
# MLX engine there, beside mlx-lm: the command, the benchmarks, the plugin for CUDA, MLX, mlx-lm, models and adapters.
#     tools/bundle_cuda.sh FOLDER MODEL_FOLDER[:ADAPTER_FOLDER]...
# makes FOLDER/bundle.aa, .ab, ... of 56 MB each. tools/bench_cuda.sh, which they hold, too, unpacks them there. Wheels that
# are on this machine already are found in the folder PIP_FIND_LINKS.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { echo "usage: tools/bundle_cuda.sh FOLDER MODEL_FOLDER[:ADAPTER_FOLDER]..." >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

mlx=$(MLX_WITHOUT_NVIDIA=1 sh tools/fetch_mlx.sh cuda)
cmake -S . -B build-cuda -DLLMLOCAL_TESTS=OFF -DLLMLOCAL_EXAMPLES=OFF -DLLMLOCAL_BENCH=ON -DLLMLOCAL_MLX=ON -DLLMLOCAL_MLX_DIR="$mlx" >&2
make -C build-cuda -j"${JOBS:-2}" llmlocal-cli llmlocal-mlx bench-session bench-mlx >&2
mkdir -p "$work/lib" "$work/wheels" "$work/models" "$work/adapters"
cp build-cuda/llmlocal build-cuda/bench/bench-session build-cuda/bench/bench-mlx build-cuda/libllmlocal-mlx.so tools/bench_cuda.sh \
    tools/compare_greedy.py "$work"
# The command's libraries, but for the C library's own.
ldd build-cuda/llmlocal | awk '$3 ~ /^\// && $1 !~ /^lib(c|m|dl|pthread|rt)\.so/ {print $3}' | xargs -I{} cp -L {} "$work/lib"
python3 -m pip download -q --no-deps --only-binary :all: --python-version 3.12 --implementation cp --platform manylinux_2_35_x86_64 \
    -d "$work/wheels" mlx==0.32.4 mlx-lm==0.32.2 mlx-cuda-13==0.32.4 >&2
for pair in "$@"; do
    name=$(basename "${pair%%:*}")
    cp -r "${pair%%:*}" "$work/models/$name"
    [ "$pair" = "${pair#*:}" ] || cp -r "${pair#*:}" "$work/adapters/$name"
done
rm -f "$folder"/bundle.*
tar -C "$work" -cf - . | gzip -1 | split -b 56000000 - "$folder/bundle."
ls -l "$folder" >&2
