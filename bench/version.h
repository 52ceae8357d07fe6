// What a version of the engine, as a shared object of its own, offers bench_versions.c. Versions differ inside; this does not.
#ifndef VERSION_H
#define VERSION_H

// Loads a model and reads `num_tokens` tokens of a prompt: the beginning of the text file, or random ones if NULL. Ends the
// program with a message if that fails.
typedef void *open_version_function(const char *directory, const char *text_file, int num_tokens, int num_threads);
// Seconds to read the prompt again.
typedef double prefill_version_function(void *version);
// Seconds of a token: the mean of `num_tokens` tokens one by one behind the prompt, after one that is not counted.
typedef double decode_version_function(void *version, int num_tokens);

__attribute__((visibility("default"))) open_version_function open_version;
__attribute__((visibility("default"))) prefill_version_function prefill_version;
__attribute__((visibility("default"))) decode_version_function decode_version;

#endif
