#!/bin/sh
# On a machine with an NVIDIA GPU: unpacks what tools/bundle_cuda.sh made, and measures the MLX engine beside mlx-lm.
#     bench_cuda.sh PIECES_FOLDER WORK_FOLDER [PART]...
# Parts, each of less than ten minutes; all of them when none is named:
#     setup      unpacks, and says what the machine is
#     first      the first answer of both with an empty folder of compiled kernels, and again with the kernels of the run before
#     greedy     greedy answers of both, every model, and with its adapter
#     speed      tokens/s of both by turns, every model, prompts of 512 and 2048 tokens; speed:MODEL[:TOKENS] for one
#     cost       where the time of a token goes, and what changes it
#     kernels    the kernels of a token and their time on the device, by Nsight Compute
#     session    how soon a cancellation takes effect, while decoding and in a prompt of 4,000 tokens
# PIECES_FOLDER/kernels.tgz, if it is there, has the folder of compiled kernels of an earlier run, which saves compiling them.
set -eu
[ $# -ge 2 ] || { sed -n '3,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
pieces=$1
mkdir -p "$2/kernels"
work=$(cd "$2" && pwd)
shift 2
export PYTHONPATH="$work/python" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 LLMLOCAL_PLUGIN_PATH="$work" MLX_PTX_CACHE_DIR="$work/kernels"
run() { LD_LIBRARY_PATH="$work/python/mlx/lib:$work/lib" "$@"; }

setup() {
    if [ ! -d "$work/python" ]; then
        cat "$pieces"/bundle.* | tar -C "$work" -xzf -
        for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/python.new"; done
        # MLX looks for NVIDIA's libraries beside itself.
        site=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
        [ ! -d "$site/nvidia" ] || ln -s "$site/nvidia" "$work/python.new/nvidia"
        [ ! -f "$pieces/kernels.tgz" ] || tar -C "$work" -xzf "$pieces/kernels.tgz"
        mv "$work/python.new" "$work/python"
    fi
}

part_setup() {
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
    run "$work/llmlocal" engines
    ls "$work/models" "$work/adapters"
}

part_first() {
    model=$(ls -d "$work"/models/* | tail -1)
    rm -rf "$work/kernels-ours" "$work/kernels-theirs"
    for round in cold warm; do
        echo "---- llmlocal, $round"
        begin=$(date +%s.%N)
        MLX_PTX_CACHE_DIR="$work/kernels-ours" run "$work/llmlocal" run --engine mlx --temperature 0 --max-tokens 64 "$model" "Why is the sky blue?"
        echo "$begin $(date +%s.%N)" | awk '{printf "the whole command: %.2f s\n", $2 - $1}'
    done
    [ ! -d "$work/kernels-ours" ] || cp -r "$work/kernels-ours/." "$work/kernels" # for the other parts
    for round in cold warm; do
        echo "---- mlx-lm, $round"
        begin=$(date +%s.%N)
        MLX_PTX_CACHE_DIR="$work/kernels-theirs" python3 -m mlx_lm generate --model "$model" --temp 0 --max-tokens 64 --prompt "Why is the sky blue?"
        echo "$begin $(date +%s.%N)" | awk '{printf "the whole command: %.2f s\n", $2 - $1}'
    done
}

part_greedy() {
    for model in "$work"/models/*; do
        name=$(basename "$model")
        echo "---- $name"
        LD_LIBRARY_PATH="$work/lib:$work/python/mlx/lib" python3 "$work/compare_greedy.py" "$work/llmlocal" "$model"
        [ -d "$work/adapters/$name" ] || continue
        echo "---- $name with its adapter"
        LD_LIBRARY_PATH="$work/lib:$work/python/mlx/lib" python3 "$work/compare_greedy.py" "$work/llmlocal" "$model" --adapter "$work/adapters/$name"
    done
}

figures() { grep -E '^(prefill_tps|decode_tps|ttft_ms|Averages)' | tr '\n' ' '; echo; }

speed() { # model, prompt lengths
    model=$1
    shift
    for tokens in "$@"; do
        for round in 1 2 3; do
            printf '%s %s+128 round %s llmlocal: ' "$(basename "$model")" "$tokens" $round
            run "$work/llmlocal" bench --engine mlx -p "$tokens" -n 128 -r 5 "$model" | figures
            printf '%s %s+128 round %s mlx-lm:   ' "$(basename "$model")" "$tokens" $round
            python3 -m mlx_lm benchmark --model "$model" -p "$tokens" -g 128 -n 5 | figures
        done
    done
}

part_speed() { for folder in "$work"/models/*; do speed "$folder" 512 2048; done; }

# Rounds by turns, because the machine drifts.
part_cost() {
    for model in "$work"/models/*; do
        echo "---- $(basename "$model")"
        for round in 1 2 3; do
            for setting in LLMLOCAL_MLX_AHEAD=1 LLMLOCAL_MLX_AHEAD=0 MLX_MAX_OPS_PER_BUFFER=1000 MLX_USE_CUDA_GRAPHS=0; do
                echo "round $round, $setting:"
                run env "$setting" "$work/bench-mlx" "$model" 200 | { [ $round = 1 ] && cat || grep -v operations; }
            done
        done
    done
}

# A longer run has more tokens than a shorter one, and nothing else.
count_kernels() { # model, tokens
    LLMLOCAL_MLX_AHEAD=0 LD_LIBRARY_PATH="$work/python/mlx/lib:$work/lib" timeout 120 ncu --target-processes all --clock-control none \
        --metrics gpu__time_duration.sum --print-units base --csv "$work/bench-mlx" "$1" "$2" >"$work/ncu.$2.csv" || { tail -3 "$work/ncu.$2.csv"; return 1; }
}

part_kernels() {
    command -v ncu >/dev/null || { echo "there is no ncu here"; return 0; }
    for model in "$work"/models/*; do
        echo "---- $(basename "$model")"
        run "$work/bench-mlx" "$model" 1 >"$work/bench.out" # compiles
        count_kernels "$model" 1 && count_kernels "$model" 3 || continue
        python3 - "$work/ncu.1.csv" "$work/ncu.3.csv" <<'END'
import collections, csv, sys
def totals(path):
    lines = open(path, errors="replace").read().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith('"ID"'))
    kernels = collections.Counter()
    times = collections.Counter()
    for row in csv.DictReader(lines[start:]):
        if row["Metric Name"] != "gpu__time_duration.sum": continue
        kernels[row["Kernel Name"][:70]] += 1
        times[row["Kernel Name"][:70]] += float(row["Metric Value"].replace(",", ""))
    return kernels, times
(few, short), (many, long) = totals(sys.argv[1]), totals(sys.argv[2])
tokens = 4  # the longer run warms up with two more tokens, and measures two more
print(f"a token: {(many.total() - few.total()) / tokens:.1f} kernels, {(long.total() - short.total()) / tokens / 1e3:.1f} us on the device when each runs alone")
for name in sorted(many, key=lambda n: short[n] - long[n])[:25]:
    print(f"  {(many[name] - few[name]) / tokens:7.1f} times {(long[name] - short[name]) / tokens / 1e3:8.1f} us  {name}")
END
    done
}

part_session() {
    for model in "$work"/models/*; do
        echo "---- $(basename "$model")"
        run "$work/bench-session" "$model" fast 30 mlx
    done
}

[ $# -gt 0 ] || set -- setup first greedy speed cost kernels session
setup
for part in "$@"; do
    echo "==== $part, $(date)"
    case $part in
    speed:*:*) part=${part#speed:} && speed "$work/models/${part%:*}" "${part#*:}" ;;
    speed:*) speed "$work/models/${part#speed:}" 512 2048 ;;
    setup | first | greedy | speed | cost | kernels | session) part_"$part" ;;
    *) echo "there is no part \"$part\"" >&2; exit 2 ;;
    esac
done
