// Prompt lookup: where the latest tokens of a text stood before. An index of all pairs of neighbouring tokens, with a chain
// through the places of each pair, grown as the text grows.
#ifndef BACKEND_LOOKUP_H
#define BACKEND_LOOKUP_H
#include "base/error.h"

enum { LOOKUP_SHORTEST = 2, LOOKUP_LONGEST = 32 }; // tokens that agree: fewer are no match, more are not counted

typedef struct lookup {
    int32_t *heads;         // [num_heads]: the latest place of a pair with this hash, as the position of its second token; -1: none
    int32_t *previous;      // [indexed]: the place before, of a pair with the same hash
    size_t num_heads, indexed, capacity; // pairs whose second token is before `indexed` are in the index
} lookup; // begins zeroed

// Finds the earlier place whose tokens agree longest with the last of `tokens` (among equals the latest; of a pair that
// stands everywhere only the latest places are looked at). Returns how many agree, 0 where there is no match; *next is the
// position behind the place. Calls see the same text, longer each time. Negative: no memory.
int lookup_find(lookup *l, const int32_t *tokens, size_t count, size_t *next);
void lookup_free(lookup *l); // a zeroed struct is fine

#endif
