// Scoring: the tokens go through the engine a few rows at a time, so that logits of a large vocabulary stay small.
#include "backend/score.h"
#include "backend/adapters.h"
#include "base/mem.h"
#include <math.h>

enum { SCORE_ROWS = 32, MAX_TOP = 1000 };

// log(sum(exp(logits)))
static double log_sum_exp(const float *logits, int count)
{
    float top = logits[0];
    double sum = 0;
    for (int i = 1; i < count; i++)
        if (logits[i] > top) top = logits[i];
    for (int i = 0; i < count; i++) sum += (double)expf(logits[i] - top);
    return (double)top + log(sum);
}

// The num_top largest, by insertion; equal ones by id.
static int find_top(const float *logits, int count, double log_sum, llm_token_logprob *top, int num_top)
{
    int found = 0;
    for (int id = 0; id < count && num_top > 0; id++) {
        float value = (float)((double)logits[id] - log_sum);
        if (found == num_top && value <= top[found - 1].logprob) continue;
        int at = found < num_top ? found++ : found - 1;
        for (; at > 0 && top[at - 1].logprob < value; at--) top[at] = top[at - 1];
        top[at] = (llm_token_logprob){id, value};
    }
    return found;
}

llm_status score_tokens(loaded_model *model, const int32_t *tokens, int num_tokens, int num_top, llm_score_function on_position,
                        void *user, llm_error *err)
{
    if (num_tokens < 1) return error_set(err, LLM_INVALID_ARGUMENT, "there is nothing to score");
    if (num_top < 0 || num_top > MAX_TOP) return error_set(err, LLM_INVALID_ARGUMENT, "num_top is %d, must be 0 to %d", num_top, MAX_TOP);
    if (num_tokens > model->context_length)
        return error_set_amounts(err, LLM_CONTEXT_EXCEEDED, (uint64_t)num_tokens, (uint64_t)model->context_length,
                                 "the text has %d tokens, the context holds %d", num_tokens, model->context_length);
    int rows = num_tokens < SCORE_ROWS ? num_tokens : SCORE_ROWS;
    engine_seq *seq = NULL;
    engine_interrupt(model->weights, false);
    float *logits = mem_alloc_zero((size_t)rows * (size_t)model->vocab_size, sizeof *logits);
    llm_token_logprob *top = mem_alloc_zero((size_t)num_top, sizeof *top);
    llm_status status = logits && top ? engine_seq_create(model->weights, &seq, err) : error_no_memory(err, "scores");
    if (status == LLM_OK) status = adapters_use(model, seq, NULL, err);
    for (int begin = 0; status == LLM_OK && begin < num_tokens; begin += rows) {
        int count = num_tokens - begin < rows ? num_tokens - begin : rows;
        engine_batch_item item = {seq, tokens + begin, count, count, false};
        status = engine_forward(model->weights, &item, 1, logits, err);
        for (int i = 0; status == LLM_OK && i < count; i++) {
            const float *row = logits + (size_t)i * (size_t)model->vocab_size;
            double log_sum = log_sum_exp(row, model->vocab_size);
            int position = begin + i, found = find_top(row, model->vocab_size, log_sum, top, num_top);
            double next = position + 1 < num_tokens ? (double)row[tokens[position + 1]] - log_sum : (double)NAN;
            if (on_position(user, position, tokens[position], next, top, found) != 0)
                status = error_set(err, LLM_CANCELLED, "scoring was stopped");
        }
    }
    engine_seq_free(seq);
    mem_free(logits);
    mem_free(top);
    return status;
}
