#!/bin/sh
# bench-speculation over four tasks, with answers as a model would give that does what it is asked: a C file with a type
# renamed, quotations, a summary, and a story.
#     bench/speculation.sh MODEL [MOST] [THREADS] [ROUNDS]
set -e
cd "$(dirname "$0")/.."
texts=$(mktemp -d)
trap 'rm -rf "$texts"' EXIT
story=tests/golden/texts/english-long.txt

head -45 src/base/buf.c >"$texts/file.c"
{ printf 'Here is a C file:\n\n'; cat "$texts/file.c"; printf '\nRepeat it with the type buf renamed to buffer.\n\n'; } >"$texts/code"
sed 's/\bbuf\b/buffer/g' "$texts/file.c" >"$texts/code.answer"

{ head -c 2480 $story; printf '\n\nAnswer these questions about the text with quotations from it. Who asked about the clock? How far was it wrong? What did the logbooks record?\n\n'; } >"$texts/extract"
cp bench/answers/extract.txt "$texts/extract.answer"
{ head -c 2480 $story; printf '\n\nSummarise the text.\n\n'; } >"$texts/summary"
cp bench/answers/summary.txt "$texts/summary.answer"
printf 'Write a story about a lighthouse.\n\n' >"$texts/prose"
head -c 2480 $story >"$texts/prose.answer"

for task in code extract summary prose; do
    printf '%s: ' $task
    "${BENCH_SPECULATION:-build/bench/bench-speculation}" "$1" "$texts/$task" "$texts/$task.answer" "${2:-7}" "${3:-0}" "${4:-5}"
done
