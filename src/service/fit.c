// Whether a model fits this machine, and with how much context.
#include "client/spec.h"
#include "models/memory.h"
#include "service/service.h"

enum { PERCENT = 80 }; // of the memory that a model may take

static llm_status read_limit(llm_service *service, const llm_model_spec *spec, llm_model_spec *whole, uint64_t *limit,
                             llm_error *err)
{
    llm_system_memory memory;
    if (!service) return error_set(err, LLM_INVALID_ARGUMENT, "the service is NULL");
    llm_status status = spec_read_checked(spec, whole, err);
    if (status == LLM_OK) status = memory_read(service->mlx.memory, service->mlx.memory_user, &memory, err);
    if (status == LLM_OK) *limit = memory.total_bytes / 100 * PERCENT;
    return status;
}

llm_status llm_service_check_memory(llm_service *service, const llm_model_spec *spec, llm_memory_estimate *estimate,
                                    llm_error *err)
{
    llm_model_spec whole;
    llm_memory_estimate e = {0};
    uint64_t limit = 0;
    llm_status status = read_limit(service, spec, &whole, &limit, err);
    if (status == LLM_OK) status = memory_estimate_spec(&whole, &service->mlx, &e, err);
    if (estimate) *estimate = e;
    if (status != LLM_OK) return status;
    return memory_compare(&e, limit, "as much as a model should take of this machine", err);
}

llm_status llm_service_recommended_context(llm_service *service, const llm_model_spec *spec, int *tokens, llm_error *err)
{
    llm_model_spec whole;
    uint64_t limit = 0;
    if (!tokens) return error_set(err, LLM_INVALID_ARGUMENT, "the tokens are NULL");
    *tokens = 0;
    llm_status status = read_limit(service, spec, &whole, &limit, err);
    if (status == LLM_OK) status = memory_longest_context(&whole, &service->mlx, limit, tokens, err);
    if (status != LLM_OK || *tokens > 0) return status;
    llm_memory_estimate e;
    whole.context_length = 1;
    whole.estimated_memory = 0;
    status = memory_estimate_spec(&whole, &service->mlx, &e, err);
    return status == LLM_OK ? memory_compare(&e, limit, "as much as a model should take of this machine", err) : status;
}
