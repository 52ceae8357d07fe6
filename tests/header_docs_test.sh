#!/bin/sh
# The header reads as documentation: doxygen makes HTML of it without a warning, and each `name` in its comments is one of
# its code. Both fail where they should.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; exit 1; }

document() { # header
    { cat docs/Doxyfile; echo "OUTPUT_DIRECTORY = $work/html"; echo "INPUT = $1"; } | doxygen - >"$work/log" 2>&1
}
check_names() { # header: words in `…` that its code does not have
    sed 's#\(^\| \)//.*##' "$1" >"$work/code"
    for word in $(sed -n 's#.*//##p' "$1" | grep -o '`[A-Za-z_]*`' | tr -d '`' | sort -u); do
        grep -q -- "$word" "$work/code" || { echo "no \`$word\` in the code"; return 1; }
    done
}
document include/llmlocal.h || { cat "$work/log"; fail "the header's documentation has warnings"; }
check_names include/llmlocal.h
grep -q 'continues the session' -i "$work/html/group__backends.html" || fail "comments do not reach the HTML"

spoil() { # what is wrong, sed command, what must complain, with what words
    sed "$2" include/llmlocal.h >"$work/llmlocal.h"
    if cmp -s include/llmlocal.h "$work/llmlocal.h"; then fail "cannot try $1: the header has changed"; fi
    if $3 "$work/llmlocal.h" >"$work/names"; then fail "$1 passed"; fi
    cat "$work/names" "$work/log" | grep -q "$4" || { cat "$work/names" "$work/log"; fail "$1 was refused for another reason"; }
}
spoil "a function without a comment" 's#\(llm_backend_cancel(.*;\).*#\1#' document "llm_backend_cancel.*not documented"
spoil "a type without a comment" '/^\/\/ A running answer, /d' document "llm_stream.*not documented"
spoil "a function that does not exist" 's#(llm_string_copy)#(llm_string_clone)#' document "llm_string_clone"
spoil "a status that does not exist" 's#: LLM_LOAD_IN_PROGRESS\. #: LLM_IS_LOADING. #' document LLM_IS_LOADING
spoil "a parameter that does not exist" 's#`timeout_ms`#`patience`#' check_names patience
