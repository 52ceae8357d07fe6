#!/bin/sh
# The tests, by part: all | tests | asan | tsan | fuzz | neon | coverage. Sets up what a part needs; ends with a line for
# each part and the count of tests.
set -u
cd "$(dirname "$0")/.."
jobs=$(nproc 2>/dev/null || echo 2)
fuzz_seconds=${FUZZ_SECONDS:-20}
models=$PWD/.cache/models
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0 summary=""

say() { echo "test: $*"; }

note() { # outcome, words
    summary="$summary
  $1  $2"
    [ "$1" = ok ] || say "FAILED: $2"
}

# Adds up what CTest said, and notes the part.
count_ctest() { # name, CTest's exit code
    ran=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\).*/\1 \2/p' "$log" | tail -1)
    bad=${ran% *} total=${ran#* }
    unrun=$(grep -c '\*\*\*Skipped' "$log")
    [ -n "$ran" ] || { bad=1 total=1; }
    failed=$((failed + bad)) passed=$((passed + total - bad - unrun)) skipped=$((skipped + unrun))
    if [ "$2" -eq 0 ] && [ "$total" -gt 0 ]; then note ok "$1: $total tests"; else note "no" "$1: $bad of $total tests failed"; fi
}

count_one() { # name, exit code
    if [ "$2" -eq 0 ]; then passed=$((passed + 1)); note ok "$1"; else failed=$((failed + 1)); note "no" "$1"; fi
}

build() { # folder, CMake arguments
    folder=$1
    shift
    cmake -S . -B "$folder" "$@" >"$log" 2>&1 && make -C "$folder" -j"$jobs" >"$log" 2>&1 && return 0
    grep -E 'error|Error|undefined' "$log" | head -40
    return 1
}

run_ctest() { # part's name, folder, further arguments
    name=$1 folder=$2
    shift 2
    LLMLOCAL_TEST_MODELS=$models ctest --test-dir "$folder" --output-on-failure "$@" 2>&1 | tee "$log" | grep -vE '^ *Start |^Internal ctest'
    grep -q '100% tests passed' "$log"
    count_ctest "$name" $?
}

# The models of the tests: the default one, and two as mlx-lm's own converter would make them.
get_models() {
    mkdir -p "$models"
    for row in "smollm2 smollm2 " "smollm2 smollm2-4bit --bits 4 --group-size 64" "gemma3 gemma3-4bit --bits 4 --group-size 64"; do
        # shellcheck disable=SC2086 # words
        set -- $row
        gguf=$1 name=$2
        shift 2
        [ -d "$models/$name" ] && continue
        path=$(sh tools/fetch_model.sh "$gguf") && build/llmlocal convert "$path" "$models/$name" "$@" >"$log" 2>&1 || { cat "$log"; return 1; }
    done
}

part_tests() {
    build build -DLLMLOCAL_TESTS=ON
    count_one "build" $?
    get_models
    count_one "models" $?
    run_ctest "tests" build
}

part_asan() {
    build build-asan -DCMAKE_BUILD_TYPE=Debug -DLLMLOCAL_SANITIZE=address,undefined
    count_one "build with address and undefined behaviour sanitizers" $?
    run_ctest "address and undefined behaviour sanitizers" build-asan -E real_models
}

part_tsan() {
    build build-tsan -DCMAKE_BUILD_TYPE=Debug -DLLMLOCAL_SANITIZE=thread
    count_one "build with thread sanitizer" $?
    run_ctest "thread sanitizer" build-tsan -R '^(base|client|backend|engine/(engine|pool)|examples)' -E real_models
}

part_fuzz() {
    CC=clang build build-fuzz -DCMAKE_BUILD_TYPE=Debug -DLLMLOCAL_FUZZ=ON -DLLMLOCAL_TESTS=OFF -DLLMLOCAL_EXAMPLES=OFF
    count_one "build of the fuzz targets" $?
    for target in build-fuzz/tests/fuzz/fuzz_*; do
        [ -x "$target" ] && [ -f "$target" ] || continue
        name=${target##*fuzz_}
        found=$PWD/.cache/fuzz/$name
        mkdir -p "$found" "tests/fuzz/corpus/$name"
        "$target" "$found" "tests/fuzz/corpus/$name" -max_total_time="$fuzz_seconds" -timeout=20 -rss_limit_mb=3000 \
            -artifact_prefix="$found/../" >"$log" 2>&1
        result=$?
        [ $result -eq 0 ] || tail -40 "$log"
        count_one "fuzz $name, $(sed -n 's/^Done \([0-9]*\) runs.*/\1 runs/p' "$log")" $result
    done
}

part_neon() {
    build build-neon -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DLLMLOCAL_KERNELS_ONLY=ON
    count_one "build for 64-bit Arm" $?
    run_ctest "NEON kernels under the emulator" build-neon
}

part_coverage() {
    build build-coverage -DCMAKE_BUILD_TYPE=Debug -DLLMLOCAL_COVERAGE=ON
    count_one "build for coverage" $?
    run_ctest "tests for coverage" build-coverage -E real_models
    for layer in base client formats text nn models backend engine cli; do
        echo "$layer $(gcovr -r . --object-directory build-coverage -f "src/$layer/" --print-summary 2>/dev/null | sed -n 's/^lines: \(.*\)/\1/p')"
    done
}

part=${1:-all}
case $part in
all) sh tools/setup.sh --test || exit 1
    for each in tests asan tsan neon fuzz; do part_$each; done ;;
tests | asan | tsan | fuzz | neon | coverage) sh tools/setup.sh --test || exit 1
    part_"$part" ;;
*) echo "usage: tools/test.sh all | tests | asan | tsan | fuzz | neon | coverage" >&2
    exit 2 ;;
esac
echo "$summary"
echo
if [ "$skipped" -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"; else echo "$passed passed, $failed failed"; fi
[ "$failed" -eq 0 ]
