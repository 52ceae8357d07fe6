// Names that come from people and from servers: what may become part of a path or of a URL.
#ifndef MODELS_HUB_NAMES_H
#define MODELS_HUB_NAMES_H
#include "base/buf.h"
#include "base/error.h"

// "owner/name" as the hub allows it: letters, digits, '-', '_', '.'; no "--", no "..", no '-' or '.' at
// either end.
bool hub_is_id(const char *text);
// A GGUF file of a repository, "owner/name/path.gguf": splits it into both. *id is owned (mem_free), *file
// borrows.
bool hub_split_gguf(const char *text, char **id, const char **file);
llm_status hub_check_revision(const char *revision,
                              llm_error *err); // a branch, tag or commit; may have slashes
bool hub_is_commit(const char *text);          // 40 hexadecimal digits
// A relative path that stays below where it begins: no empty, "." or ".." parts, no control characters or
// backslashes.
bool hub_is_safe_path(const char *path);

void url_append(buf *url, const char *text, bool keep_slashes); // percent-encoded

#endif
