#!/bin/sh
# The tests, by part: all | tests | mlx | asan | tsan | fuzz | neon | coverage. Sets up what a part needs. Ends with a line for
# each part and the sum of what CTest counted; a part that could not be built or prepared counts as one failure.
set -u
cd "$(dirname "$0")/.."
jobs=$(nproc 2>/dev/null || echo 2)
fuzz_seconds=${FUZZ_SECONDS:-20}
models=$PWD/.cache/models
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0 summary="" part_began=0

note() { # outcome, words
    summary="$summary
  $1  $2, $(($(date +%s) - part_began)) s"
}

begin() { # the part's name
    part_name=$1 part_began=$(date +%s)
    echo "==== $part_name"
}

# Says that the part could not begin, and shows the log.
cannot() { # reason
    failed=$((failed + 1))
    tail -60 "$log"
    echo "FAILED: $part_name: $1"
    note "no" "$part_name: $1"
    return 1
}

build() { # folder, CMake arguments
    folder=$1
    shift
    cmake -S . -B "$folder" "$@" >"$log" 2>&1 && make -C "$folder" -j"$jobs" >"$log" 2>&1 || cannot "$folder does not build"
}

# Runs CTest, and adds up what it counted.
run_ctest() { # folder, further arguments
    folder=$1
    shift
    LLMLOCAL_TEST_MODELS=$models ctest --test-dir "$folder" --output-on-failure "$@" 2>&1 | tee "$log" | grep -vE '^ *Start |^Internal ctest'
    # "95% tests passed, 1 tests failed out of 20"
    counts=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\).*/\1 \2/p' "$log" | tail -1)
    [ -n "$counts" ] || { cannot "no test ran"; return; }
    bad=${counts% *} total=${counts#* }
    # Test functions that had no model to work on.
    unrun=$(grep -c '\[  SKIPPED \]' "$folder/Testing/Temporary/LastTest.log")
    failed=$((failed + bad)) passed=$((passed + total - bad)) skipped=$((skipped + unrun))
    if [ "$bad" -eq 0 ]; then note ok "$part_name: $total tests"; else note "no" "$part_name: $bad of $total tests failed"; fi
    [ "$unrun" -eq 0 ] || note "--" "$part_name: $unrun functions SKIPPED: $(grep -h -m 1 'SKIPPED:' "$folder/Testing/Temporary/LastTest.log")"
}

# The models of the tests: the default one, and two as mlx-lm's own converter would make them. Other code of conversion
# than made them makes them again.
get_models() {
    mkdir -p "$models"
    code=$(cat src/models/convert*.[ch] src/formats/*.[ch] | sha256sum)
    for row in "smollm2 smollm2 " "smollm2 smollm2-4bit --bits 4 --group-size 64" "gemma3 gemma3-4bit --bits 4 --group-size 64"; do
        # shellcheck disable=SC2086 # words
        set -- $row
        gguf=$1 name=$2
        shift 2
        [ -d "$models/$name" ] && [ "$(cat "$models/$name.made-by" 2>/dev/null)" = "$code" ] && continue
        rm -rf "${models:?}/$name"
        path=$(sh tools/fetch_model.sh "$gguf" 2>"$log") && build/llmlocal convert "$path" "$models/$name" "$@" >"$log" 2>&1 || return 1
        echo "$code" >"$models/$name.made-by"
    done
}

# With the MLX engine, whose own tests are a part of their own.
build_all() {
    mlx=$(sh tools/fetch_mlx.sh 2>"$log") || { cannot "MLX cannot be had"; return; }
    build build -DLLMLOCAL_TESTS=ON -DLLMLOCAL_EXAMPLES=ON -DLLMLOCAL_MLX=ON -DLLMLOCAL_MLX_DIR="$mlx" || return
    get_models || cannot "the models cannot be had"
}

part_tests() {
    begin "tests"
    build_all || return
    run_ctest build -E 'engine/mlx|real_models_mlx'
}

part_mlx() {
    begin "the MLX engine"
    build_all || return
    run_ctest build -R 'engine/(engine|adapters|mlx|plugin)|real_models_mlx|structure/install'
}

part_asan() {
    begin "address and undefined behaviour sanitizers"
    build build-asan -DCMAKE_BUILD_TYPE=Debug -DLLMLOCAL_SANITIZE=address,undefined || return
    # Real models take minutes under sanitizers, and run no code that the tiny ones do not.
    models=/nowhere run_ctest build-asan -E real_
}

part_tsan() {
    begin "thread sanitizer"
    build build-tsan -DCMAKE_BUILD_TYPE=Debug -DLLMLOCAL_SANITIZE=thread || return
    models=/nowhere run_ctest build-tsan -R '^(base|client|backend|service|models/(hub|cache)|engine/(engine|pool)|examples)' -E real_
}

part_fuzz() {
    begin "fuzzing, $fuzz_seconds s a target"
    CC=clang build build-fuzz -DCMAKE_BUILD_TYPE=Debug -DLLMLOCAL_FUZZ=ON -DLLMLOCAL_TESTS=OFF -DLLMLOCAL_EXAMPLES=OFF \
        -DLLMLOCAL_FUZZ_SECONDS="$fuzz_seconds" || return
    run_ctest build-fuzz -j "$jobs"
}

part_neon() {
    begin "NEON kernels under the emulator"
    # An Arm machine has run them among the tests.
    [ "$(uname -m)" = x86_64 ] || { note "--" "$part_name: not on this machine"; return; }
    build build-neon -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DLLMLOCAL_KERNELS_ONLY=ON || return
    run_ctest build-neon -j "$jobs"
}

part_coverage() {
    begin "coverage"
    build build-coverage -DCMAKE_BUILD_TYPE=Debug -DLLMLOCAL_COVERAGE=ON || return
    run_ctest build-coverage -E real_
    for layer in base client formats text nn models backend service engine cli; do
        echo "$layer $(gcovr -r . --object-directory build-coverage -f "src/$layer/" --print-summary 2>/dev/null | sed -n 's/^lines: \(.*\)/\1/p')"
    done
}

part=${1:-all}
case $part in
all) parts="tests mlx asan tsan neon fuzz" ;;
tests | mlx | asan | tsan | fuzz | neon | coverage) parts=$part ;;
*) echo "usage: tools/test.sh all | tests | mlx | asan | tsan | fuzz | neon | coverage" >&2
    exit 2 ;;
esac
sh tools/setup.sh --test || exit 1
for part in $parts; do part_"$part"; done
echo "$summary"
echo
[ "$skipped" -eq 0 ] || echo "$skipped test functions SKIPPED"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
