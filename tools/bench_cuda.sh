#!/bin/sh
# On a machine with an NVIDIA GPU: unpacks what tools/bundle_cuda.sh made, and measures the MLX engine beside mlx-lm.
#     tools/bench_cuda.sh PIECES_FOLDER WORK_FOLDER
# Figures of both come from the same run. The first answer of each with an empty folder of kernels shows what compiling costs.
set -eu
[ $# -eq 2 ] || { echo "usage: tools/bench_cuda.sh PIECES_FOLDER WORK_FOLDER" >&2; exit 2; }
tools=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
if [ ! -d "$work/python" ]; then
    cat "$1"/bundle.* | tar -C "$work" -xf -
    for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/python"; done
    # MLX looks for NVIDIA's libraries beside itself.
    site=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
    [ ! -d "$site/nvidia" ] || ln -s "$site/nvidia" "$work/python/nvidia"
fi
export PYTHONPATH="$work/python" HF_HUB_OFFLINE=1 LLMLOCAL_PLUGIN_PATH="$work"
run() { LD_LIBRARY_PATH="$work/python/mlx/lib:$work/lib" "$work/llmlocal" "$@"; }

chmod +x "$work/llmlocal"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
run engines
for round in cold warm; do
    echo "==== llmlocal, first answer, $round"
    MLX_PTX_CACHE_DIR="$work/kernels-ours" run run --engine mlx --temperature 0 --max-tokens 64 "$work/model" "Why is the sky blue?"
done
export MLX_PTX_CACHE_DIR="$work/kernels-ours"
echo "==== greedy answers, llmlocal and mlx-lm"
LD_LIBRARY_PATH="$work/lib:$work/python/mlx/lib" python3 "$tools/compare_greedy.py" "$work/llmlocal" "$work/model" 200
for round in 1 2; do
    echo "==== round $round: llmlocal"
    run bench --engine mlx -p 512 -n 128 -r 5 "$work/model"
    echo "==== round $round: mlx-lm"
    python3 -m mlx_lm benchmark --model "$work/model" -p 512 -g 128 -n 5
done
echo "==== llmlocal, prompts of 2048; without working ahead; with MLX's own cache limit of memory"
run bench --engine mlx -p 2048 -n 128 -r 3 "$work/model"
LLMLOCAL_MLX_AHEAD=0 run bench --engine mlx -p 512 -n 128 -r 3 "$work/model"
run bench --engine mlx --cache-limit 20000 -p 512 -n 128 -r 3 "$work/model"
echo "==== mlx-lm, prompts of 2048"
python3 -m mlx_lm benchmark --model "$work/model" -p 2048 -g 128 -n 3
