#!/bin/sh
# Includes point down only: fails on a line that reaches up or sideways.
#     tools/check_includes.sh [FOLDER]      FOLDER holds the layers; src by default
# A layer may include itself and any layer with a lower number; layers of one number do not know each other.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-src}
find "$folder" -name "*.[ch]" -o -name "*.cpp" | sort | xargs awk -v folder="$folder" '
BEGIN {
    split("base:0 client:1 formats:2 engine:3 text:4 nn:4 models:5 backend:6 service:7 cli:8 server:8", rows, " ")
    for (i in rows) { split(rows[i], cell, ":"); rank[cell[1]] = cell[2] }
}
/^[ \t]*#[ \t]*include[ \t]*["<]/ {
    path = $0; sub(/^[^"<]*["<]/, "", path); sub(/[">].*/, "", path)
    # <...> is for the system, unless the folder is one of ours.
    if ($0 ~ /include[ \t]*</ && !(substr(path, 1, index(path, "/") - 1) in rank)) next
    file = substr(FILENAME, length(folder) + 2); layer = file; sub(/\/.*/, "", layer)
    if (path == "llmlocal.h") next
    target = path; sub(/\/.*/, "", target)
    reason = ""
    if (path ~ /\.\./) reason = "includes \"" path "\": write it as \"layer/file.h\""
    else if (!(layer in rank)) reason = "is in no layer"
    else if (!(target in rank)) reason = "includes \"" path "\": write it as \"layer/file.h\""
    else if ((layer == "cli" || layer == "server") && target != layer) reason = "uses the public header only, not \"" path "\""
    else if (target != layer && rank[target] >= rank[layer]) reason = "includes \"" path "\", which is not below it"
    else if (path ~ /^engine\/(cpu|mlx)\// && layer != "engine") reason = "reaches inside an engine: \"" path "\""
    if (reason != "") { print FILENAME ":" FNR ": " reason; bad = 1 }
}
END { exit bad }'
