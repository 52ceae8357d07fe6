#!/bin/sh
# The shared library exports the public interface and nothing else.
#     check_exports_test.sh LIBRARY HEADER
set -eu
exported=$(nm -D --defined-only "$1" | awk '{print $3}')
others=$(echo "$exported" | grep -v '^llm_' || true)
[ -z "$others" ] || { echo "exported, but not public: $others"; exit 1; }
# Every function of the header is there, and every export is in the header.
for name in $exported; do grep -q "\\b$name(" "$2" || { echo "$name is exported, but not in the header"; exit 1; }; done
declared=$(grep -o '\bllm_[a-z_]*(' "$2" | tr -d '(' | sort -u)
for name in $declared; do
    grep -qE "^LLM_API.*\\b$name\\(" "$2" || continue
    echo "$exported" | grep -qx "$name" || { echo "$name is declared, but not exported"; exit 1; }
done
