// The inside of a model spec: reading callers' structs of any size, and checking them.
#ifndef CLIENT_SPEC_H
#define CLIENT_SPEC_H
#include "base/error.h"

// Brings a caller's spec, which may be of an older or newer library, to our size. Borrows its strings.
llm_status spec_read(const llm_model_spec *spec, llm_model_spec *whole, llm_error *err);

// LLM_INVALID_ARGUMENT, naming the member, when something is missing or out of its range.
llm_status spec_check(const llm_model_spec *spec, llm_error *err);

llm_status spec_read_checked(const llm_model_spec *spec, llm_model_spec *whole, llm_error *err); // both

llm_status spec_check_adapter(const llm_adapter *adapter, llm_error *err); // of some kind; NULL is refused
// Copies of specs of our size: pointers to them, with everything behind, in one block (mem_free). NULL without memory.
llm_model_spec **spec_copy_all(const llm_model_spec *const *specs, size_t count);

// What NULL stands for.
const char *spec_id(const llm_model_spec *spec);
const char *spec_revision(const llm_model_spec *spec);

#endif
