// Speculation without a draft model: the tokens that followed the latest ones where they stood before are proposed, and one
// forward pass verifies them all. How many, if any, follows from what verified before and from what passes took.
#ifndef BACKEND_SPECULATION_H
#define BACKEND_SPECULATION_H
#include "backend/lookup.h"
#include <stdbool.h>

enum { SPECULATION_MOST = 32, SPECULATION_CLASSES = 5 };

// Begins zeroed, then speculation_begin.
typedef struct speculation {
    lookup lookup;
    int most;                              // tokens proposed at once; 0: off
    double seconds[SPECULATION_MOST + 2];  // of a pass of so many rows, averaged; 0: not known
    double likely[SPECULATION_CLASSES];    // that a proposed token is right, by how long the match was
    int match_class, count;                // of the proposal
    int32_t tokens[SPECULATION_MOST];      // the proposal
} speculation;

void speculation_begin(speculation *s, int most);
void speculation_free(speculation *s); // a zeroed struct is fine

// Proposes what may follow `history`, at most `room` tokens: s->tokens [s->count]. False without memory.
bool speculation_propose(speculation *s, const int32_t *history, size_t count, int room);

void speculation_timed(speculation *s, int rows, double seconds); // a pass took this
void speculation_judged(speculation *s, int right);               // so many of the proposal's first tokens were right

#endif
