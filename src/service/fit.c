// Whether a model fits this machine, and with how much context.
#include "client/spec.h"
#include "models/memory.h"
#include "service/service.h"

static llm_status read_memory(llm_service *service, const llm_model_spec *spec, llm_model_spec *whole, llm_system_memory *memory,
                              llm_error *err)
{
    if (!service) return error_set(err, LLM_INVALID_ARGUMENT, "the service is NULL");
    llm_status status = spec_read_checked(spec, whole, err);
    return status == LLM_OK ? memory_read(service->mlx.memory, service->mlx.memory_user, memory, err) : status;
}

llm_status llm_service_check_memory(llm_service *service, const llm_model_spec *spec, llm_memory_estimate *estimate,
                                    llm_error *err)
{
    llm_model_spec whole;
    llm_memory_estimate e = {0};
    llm_system_memory memory;
    llm_status status = read_memory(service, spec, &whole, &memory, err);
    if (status == LLM_OK) status = memory_estimate_spec(&whole, &service->mlx, &e, err);
    if (estimate) *estimate = e;
    return status == LLM_OK ? memory_judge(&e, &memory, false, err) : status;
}

llm_status llm_service_recommended_context(llm_service *service, const llm_model_spec *spec, int *tokens, llm_error *err)
{
    llm_model_spec whole;
    llm_system_memory memory;
    if (!tokens) return error_set(err, LLM_INVALID_ARGUMENT, "the tokens are NULL");
    *tokens = 0;
    llm_status status = read_memory(service, spec, &whole, &memory, err);
    if (status == LLM_OK) status = memory_longest_context(&whole, &service->mlx, memory_share(&memory), tokens, err);
    if (status != LLM_OK || *tokens > 0) return status;
    llm_memory_estimate e;
    whole.context_length = 1;
    whole.estimated_memory = 0;
    status = memory_estimate_spec(&whole, &service->mlx, &e, err);
    return status == LLM_OK ? memory_judge(&e, &memory, false, err) : status;
}
