// llm_backend: adapters beside the loaded model. They take their turn among the requests.
#include "base/utf8.h"
#include "client/backend.h"
#include "client/spec.h"
#include <string.h>

static llm_status check_name(llm_backend *backend, const char *name, bool supported, llm_error *err)
{
    if (!backend) return error_set(err, LLM_INVALID_ARGUMENT, "the backend is NULL");
    if (!name || !*name || !utf8_valid(name, strlen(name)))
        return error_set(err, LLM_INVALID_ARGUMENT, "an adapter's name must be a text of at least one character");
    if (!supported) return error_set(err, LLM_UNSUPPORTED_FORMAT, "the backend \"%s\" has no adapters", backend->methods->name);
    return LLM_OK;
}

// `adapter` NULL: removes it.
static llm_status change(llm_backend *backend, const char *name, const llm_adapter *adapter, llm_error *err)
{
    llm_error unused;
    if (!err) err = &unused;
    *err = (llm_error){0};
    llm_status status = answers_take_turn(backend, NULL, "an adapter's change", NULL, err);
    if (status != LLM_OK) return status;
    if (adapter) status = backend->methods->add_adapter(backend->state, name, adapter, err);
    else status = backend->methods->remove_adapter(backend->state, name, err);
    backend_slot_status(backend, adapter ? "add_adapter" : "remove_adapter", status, err);
    answers_end_turn(backend);
    return status;
}

llm_status llm_backend_add_adapter(llm_backend *backend, const char *name, const llm_adapter *adapter, llm_error *err)
{
    llm_status status = check_name(backend, name, backend && backend->methods->add_adapter, err);
    if (status == LLM_OK) status = spec_check_adapter(adapter, err);
    return status == LLM_OK ? change(backend, name, adapter, err) : status;
}

llm_status llm_backend_remove_adapter(llm_backend *backend, const char *name, llm_error *err)
{
    llm_status status = check_name(backend, name, backend && backend->methods->remove_adapter, err);
    return status == LLM_OK ? change(backend, name, NULL, err) : status;
}
