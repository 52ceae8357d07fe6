// An answer on its way to standard output.
#ifndef CLI_ANSWER_H
#define CLI_ANSWER_H
#include "cli/cli.h"

typedef struct answer_options {
    bool json;
    bool quiet;          // no statistics on standard error
    bool no_reasoning;   // nor the model's reasoning
    double load_seconds; // of the model, for the statistics
} answer_options;

// Prints the whole answer as it comes and frees the stream. Ctrl-C and a reader that went away cancel it.
// Returns the exit code; *stats (may be NULL) is filled when there was an end.
int answer_print(llm_stream *stream, const answer_options *options, llm_stats *stats);
void answer_print_stats(const llm_stats *stats, double load_seconds); // a line on standard error

#endif
