# A doxygen input filter for include/llmlocal.h: turns the header's comments, as people read them, into doxygen's.
#   The comment at the very beginning       the page's introduction; "  Word  text" in it is a row of a list
#   // ---- Title ----                      begins a section; a comment right below is the section's
#   A comment with an empty line below      begins a part of the section, with its first sentence as heading
#   A comment above a callback's type       documents the function below, too, that has none of its own
#   code // text                            documents what the line declares; behind a slot of a table: its default
# Functions named _init and _free mean what the conventions say of them, and a member may be left to its name; anything
# else without a comment is doxygen's to complain of. Names (llm_x, LLM_X) outside `code` become references, so that it
# complains of those that do not exist, too.
{ lines[NR] = $0 }

function comment_of(line) { sub(/^ *\/\/ ?/, "", line); return line }
function is_comment(line) { return line ~ /^ *\/\// }
function trailing_at(line) { return is_comment(line) ? 0 : index(line, " // ") }

function with_references(text,   parts, n, i, out) {
    n = split(text, parts, "`")
    for (i = 1; i <= n; i++) out = out (i > 1 ? "`" : "") (i % 2 ? references(parts[i]) : parts[i])
    return out
}
function references(text,   out, name, before) {
    while (match(text, /(llm_|LLM_)[A-Za-z0-9_]*[A-Za-z0-9]/)) {
        name = substr(text, RSTART, RLENGTH)
        before = RSTART > 1 ? substr(text, RSTART - 1, 1) : " "
        out = out substr(text, 1, RSTART - 1) (before ~ /[A-Za-z0-9_]/ ? name : "@ref " name " \"" name "\"")
        text = substr(text, RSTART + RLENGTH)
    }
    return out text
}

function introduction(line) {
    if (line ~ /^  [A-Z][a-z]+  /) { match(line, /[A-Z][a-z]+/); return "- **" substr(line, RSTART, RLENGTH) "** " with_references(substr(line, RSTART + RLENGTH)) }
    if (line ~ /^         /) { sub(/^ +/, "  ", line); return with_references(line) }
    if (line ~ /^    /) { if (!in_code) line = "\n/// " line; in_code = 1; return line }
    in_code = 0
    if (line ~ /^[A-Z][a-z]+$/) return "### " line "\n///"
    return with_references(line)
}

function id_of(title) { title = tolower(title); gsub(/[^a-z0-9]+/, "-", title); return title }
function title_of(line) { gsub(/^\/\/ -+ | -+$/, "", line); return line }
function end_part() { if (in_part) print "///@}\n"; in_part = 0 }
function end_section() { end_part(); if (in_section) print "/// @}\n"; in_section = 0 }
function begin_section(title, text) {
    end_section()
    print "/// @defgroup " id_of(title) " " title "\n/// " text "\n/// @{\n"
    in_section = 1
}

# The heading is the first sentence.
function begin_part(text,   flat, at) {
    end_part()
    flat = text
    gsub(/\n\/\/\/ /, " ", flat)
    gsub(/@ref [^ ]+ /, "", flat)
    at = match(flat, /[.:] /)
    flat = at ? substr(flat, 1, at) : flat
    sub(/[.:]$/, "", flat)
    print "/// @name " flat "\n/// " text "\n///@{\n"
    in_part = 1
}

# The comment of the lines from `first` on; `after` becomes the line after it.
function read_comment(first,   i, text) {
    for (i = first; i <= NR && is_comment(lines[i]) && lines[i] !~ /^\/\/ ----/; i++)
        text = text (i > first ? "\n/// " : "") with_references(comment_of(lines[i]))
    after = i
    return text
}

# "type a, *b;" as two lines, each with the comment.
function print_members(line, comment,   at, type, names, n, i) {
    at = index(line, ",")
    if (line ~ /\) *; *$/) comment = "Default: " comment
    if (!at || line ~ /[()]/ || line !~ /;/) { print line "///< " comment; return }
    type = substr(line, 1, at - 1)
    match(type, /\**[A-Za-z_0-9]+(\[[0-9]+\])?$/)
    n = split(substr(line, RSTART), names, /[,;] */)
    type = substr(line, 1, RSTART - 1)
    for (i = 1; i < n; i++) print type names[i] "; ///< " comment
}

# One declaration at the level of the file, from line i to where it ends; shared: the comment of the run it stands in.
function print_declaration(i, own, shared,   last, depth, text, line, at, is_block) {
    depth = 0
    for (last = i; last <= NR; last++) {
        line = lines[last]
        if ((at = trailing_at(line)) > 0) line = substr(line, 1, at)
        depth += gsub(/\{/, "{", line) - gsub(/\}/, "}", line)
        if (depth == 0 && (line ~ /; *$/ || line ~ /^#/)) break
    }
    is_block = last > i && lines[i] ~ /\{/
    if (!own && (is_block || !trailing_at(lines[last]))) {
        if (shared != "") print "/// " shared
        else if (lines[i] ~ /_init\(/) print "/// Sets `size` and the defaults."
        else if (lines[i] ~ /_free\(/) print "/// Frees it; NULL does nothing."
    }
    own = 0
    for (; i <= last; i++) {
        line = lines[i]
        at = trailing_at(line)
        if (is_comment(line)) { print "/// " with_references(comment_of(line)); own = 1; continue }
        if (at > 0) print_members(substr(line, 1, at), with_references(substr(line, at + 4)))
        else if (is_block && !own && line ~ /^    .*[;,A-Z] *$/ && line !~ /^     /)
            print_members(line " ", line ~ /size_t size;/ ? "set by the `_init` function" : "&nbsp;")
        else print line
        if (line ~ /;/) own = 0
    }
    after = last + 1
}

END {
    print "/// @mainpage"
    for (i = 1; i <= NR && is_comment(lines[i]); i++) print "/// " introduction(comment_of(lines[i]))
    print "///\n/// ### Sections\n///"
    for (j = i; j <= NR; j++) if (lines[j] ~ /^\/\/ ----/) print "/// - @ref " id_of(title_of(lines[j]))
    print "\n/// @file\n/// The whole of it."
    shared = ""
    while (i <= NR) {
        line = lines[i]
        if (line ~ /^#ifdef __cplusplus/) end_section()
        if (line ~ /^\/\/ ----/) {
            title = title_of(line)
            while (lines[i + 1] == "//") i++
            text = read_comment(i + 1)
            if (lines[after] == "") { begin_section(title, text); i = after }
            else { begin_section(title, ""); i++ }
            shared = ""
        } else if (is_comment(line)) {
            text = read_comment(i)
            if (lines[after] == "") begin_part(text)
            else { print "/// " text; shared = text; own = 1 }
            i = after
        } else if (line ~ /^(LLM_API|typedef|#define LLM_[A-Z_]* )/) {
            is_callback = line ~ /^typedef .*\(\*/
            print_declaration(i, own, shared)
            if (!is_callback) shared = ""
            own = 0
            i = after
        } else {
            if (line == "") shared = ""
            print line
            own = 0
            i++
        }
    }
}
