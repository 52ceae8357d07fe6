// Sampling in linear time: nothing is sorted. Filters are thresholds on the logit, found among the few
// candidates that a cheap bound leaves (block maxima, and the share of probability that a logit can have at
// most).
#include "nn/sampler.h"
#include "base/mem.h"
#include "nn/portable_math.h"
#include <float.h>
#include <math.h>

enum { BLOCK = 64, LANES = 16, RADIX_BITS = 11, RADIX = 1 << RADIX_BITS };

// A logit among which a threshold is looked for, and what it counts: 1, or its weight.
typedef struct amount {
    float logit, value;
} amount;

struct sampler {
    sampler_options options;
    sampler_bias *biases; // [options.num_biases]
    int vocab_size, num_blocks;
    uint64_t stream, draws; // random number i is a hash of stream and i
    uint32_t *counts;       // [vocab_size], zero between calls; NULL without penalties
    float *maxima;          // [num_blocks], the largest logit of each block
    double *sums;           // [num_blocks], the weights' sum of each block
    // Candidates for a draw, in the order of their ids: token, logit, weight; each [vocab_size].
    int32_t *tokens;
    float *values, *weights;
    size_t num_candidates;
    amount *amounts; // [vocab_size], scratch of select_threshold
    float largest;   // of all logits
    sampler_logprob top[SAMPLER_MAX_TOP_LOGPROBS];
};

void sampler_options_init(sampler_options *options)
{
    *options = (sampler_options){.repetition_context = 20, .presence_context = 20, .frequency_context = 20};
}

static llm_status out_of_range(llm_error *err, const char *option, double value)
{
    return error_set(err, LLM_INVALID_ARGUMENT, "%s is out of range: %g", option, value);
}

static llm_status check_biases(const sampler_options *o, int vocab_size, llm_error *err)
{
    if (o->num_biases < 0 || o->num_biases > vocab_size || (o->num_biases && !o->biases))
        return out_of_range(err, "the number of logit biases", o->num_biases);
    for (int i = 0; i < o->num_biases; i++) {
        if (o->biases[i].token < 0 || o->biases[i].token >= vocab_size)
            return out_of_range(err, "a logit bias's token", o->biases[i].token);
        if (!(o->biases[i].bias <= 1e6f)) return out_of_range(err, "a logit bias", o->biases[i].bias);
    }
    return LLM_OK;
}

static bool within(float value, float smallest, float largest)
{
    return value >= smallest && value <= largest;
}

static llm_status check_options(const sampler_options *o, int vocab_size, llm_error *err)
{
    if (o->temperature != 0 && !within(o->temperature, 1e-6f, 1e6f))
        return out_of_range(err, "temperature", o->temperature);
    if (!within(o->top_p, 0, FLT_MAX)) return out_of_range(err, "top_p", o->top_p);
    if (!within(o->min_p, 0, 1)) return out_of_range(err, "min_p", o->min_p);
    if (o->top_k < 0) return out_of_range(err, "top_k", o->top_k);
    if (o->repetition_penalty != 0 && !within(o->repetition_penalty, 1e-3f, 1e3f))
        return out_of_range(err, "repetition_penalty", o->repetition_penalty);
    if (!within(o->presence_penalty, -1e3f, 1e3f))
        return out_of_range(err, "presence_penalty", o->presence_penalty);
    if (!within(o->frequency_penalty, -1e3f, 1e3f))
        return out_of_range(err, "frequency_penalty", o->frequency_penalty);
    if (o->repetition_context < 0) return out_of_range(err, "repetition_context", o->repetition_context);
    if (o->presence_context < 0) return out_of_range(err, "presence_context", o->presence_context);
    if (o->frequency_context < 0) return out_of_range(err, "frequency_context", o->frequency_context);
    if (o->top_logprobs < 0 || o->top_logprobs > SAMPLER_MAX_TOP_LOGPROBS)
        return out_of_range(err, "top_logprobs", o->top_logprobs);
    return check_biases(o, vocab_size, err);
}

static bool has_repetition(const sampler_options *o)
{
    return o->repetition_penalty != 0 && o->repetition_penalty != 1;
}

// Steele, Lea and Flood's SplitMix64 finaliser.
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

llm_status sampler_create(const sampler_options *options, int vocab_size, sampler **out, llm_error *err)
{
    *out = NULL;
    if (vocab_size < 1) return out_of_range(err, "the vocabulary size", vocab_size);
    llm_status status = check_options(options, vocab_size, err);
    if (status != LLM_OK) return status;
    sampler *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return error_no_memory(err, "a sampler");
    s->options = *options;
    s->options.biases = NULL;
    s->vocab_size = vocab_size;
    s->num_blocks = (vocab_size - 1) / BLOCK + 1;
    s->stream = mix(options->seed + 0x9E3779B97F4A7C15u);
    s->biases = mem_alloc_zero((size_t)options->num_biases + 1, sizeof *s->biases);
    s->maxima = mem_alloc_zero((size_t)s->num_blocks, sizeof *s->maxima);
    s->sums = mem_alloc_zero((size_t)s->num_blocks, sizeof *s->sums);
    s->tokens = mem_alloc_zero((size_t)vocab_size, sizeof *s->tokens);
    s->values = mem_alloc_zero((size_t)vocab_size, sizeof *s->values);
    s->weights = mem_alloc_zero((size_t)vocab_size, sizeof *s->weights);
    s->amounts = mem_alloc_zero((size_t)vocab_size, sizeof *s->amounts);
    bool counts = has_repetition(options) || options->presence_penalty != 0;
    if (counts) s->counts = mem_alloc_zero((size_t)vocab_size, sizeof *s->counts);
    bool candidates = s->tokens && s->values && s->weights && s->amounts;
    if (!s->biases || !s->maxima || !s->sums || !candidates || (counts && !s->counts)) {
        sampler_free(s);
        return error_no_memory(err, "a sampler");
    }
    if (options->num_biases)
        memcpy(s->biases, options->biases, (size_t)options->num_biases * sizeof *s->biases);
    *out = s;
    return LLM_OK;
}

void sampler_free(sampler *s)
{
    if (!s) return;
    mem_free(s->biases);
    mem_free(s->counts);
    mem_free(s->maxima);
    mem_free(s->sums);
    mem_free(s->tokens);
    mem_free(s->values);
    mem_free(s->weights);
    mem_free(s->amounts);
    mem_free(s);
}

uint64_t sampler_draws(const sampler *s)
{
    return s->draws;
}
void sampler_seek(sampler *s, uint64_t num_draws)
{
    s->draws = num_draws;
}

static double next_uniform(sampler *s) // 0 <= u < 1
{
    return (double)(mix(s->stream + ++s->draws * 0x9E3779B97F4A7C15u) >> 11) * 0x1p-53;
}

// The latest `context` tokens of the history; 0: all.
static const int32_t *latest(const int32_t *history, size_t length, int context, size_t *count)
{
    *count = context && (size_t)context < length ? (size_t)context : length;
    return *count ? history + (length - *count) : history;
}

static bool in_vocabulary(const sampler *s, int32_t token)
{
    return token >= 0 && token < s->vocab_size;
}

// True the first time it is asked about a token since forget_tokens.
static bool is_first(sampler *s, int32_t token)
{
    return in_vocabulary(s, token) && s->counts[token]++ == 0;
}

static void forget_tokens(sampler *s, const int32_t *tokens, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (in_vocabulary(s, tokens[i])) s->counts[tokens[i]] = 0;
}

static void apply_penalties(sampler *s, float *logits, const int32_t *history, size_t length)
{
    const sampler_options *o = &s->options;
    size_t count;
    for (int i = 0; i < o->num_biases; i++) logits[s->biases[i].token] += s->biases[i].bias;
    if (has_repetition(o)) {
        const int32_t *tokens = latest(history, length, o->repetition_context, &count);
        for (size_t i = 0; i < count; i++)
            if (is_first(s, tokens[i])) {
                float *logit = &logits[tokens[i]];
                *logit = *logit < 0 ? *logit * o->repetition_penalty : *logit / o->repetition_penalty;
            }
        forget_tokens(s, tokens, count);
    }
    if (o->presence_penalty != 0) {
        const int32_t *tokens = latest(history, length, o->presence_context, &count);
        for (size_t i = 0; i < count; i++)
            if (is_first(s, tokens[i])) logits[tokens[i]] -= o->presence_penalty;
        forget_tokens(s, tokens, count);
    }
    if (o->frequency_penalty != 0) {
        const int32_t *tokens = latest(history, length, o->frequency_context, &count);
        for (size_t i = 0; i < count; i++)
            if (in_vocabulary(s, tokens[i])) logits[tokens[i]] -= o->frequency_penalty;
    }
}

// Block b, padded with -infinity into `padded` where the vocabulary ends inside it.
static const float *block_of(const sampler *s, const float *logits, int b, float padded[BLOCK])
{
    int begin = b * BLOCK, count = s->vocab_size - begin;
    if (count >= BLOCK) return logits + begin;
    for (int i = 0; i < BLOCK; i++) padded[i] = i < count ? logits[begin + i] : -INFINITY;
    return padded;
}

// Fills maxima and largest; false if a logit is NaN or +infinity, or all are -infinity.
static bool scan(sampler *s, const float *logits)
{
    float padded[BLOCK], lanes[LANES];
    int invalid[LANES] = {0}, any_invalid = 0;
    s->largest = -INFINITY;
    for (int b = 0; b < s->num_blocks; b++) {
        const float *x = block_of(s, logits, b, padded);
        for (int l = 0; l < LANES; l++) lanes[l] = -INFINITY;
        for (int i = 0; i < BLOCK; i += LANES)
            for (int l = 0; l < LANES; l++) {
                invalid[l] |= !(x[i + l] <= FLT_MAX);
                lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
            }
        for (int half = LANES / 2; half; half /= 2)
            for (int l = 0; l < half; l++) lanes[l] = lanes[l + half] > lanes[l] ? lanes[l + half] : lanes[l];
        s->maxima[b] = lanes[0];
        s->largest = lanes[0] > s->largest ? lanes[0] : s->largest;
    }
    for (int l = 0; l < LANES; l++) any_invalid |= invalid[l];
    return !any_invalid && s->largest >= -FLT_MAX;
}

// The weight of a logit relative to the largest; at temperature 1 times the partition sum it is the
// probability.
static float weigh(const sampler *s, float logit, float inverse_temperature)
{
    return portable_exp((logit - s->largest) * inverse_temperature);
}

// In a loop of its own, which compilers turn into vector code.
static void weigh_all(const float *restrict logits, size_t count, float largest, float inverse_temperature,
                      float *restrict weights)
{
    for (size_t i = 0; i < count; i++) weights[i] = portable_exp((logits[i] - largest) * inverse_temperature);
}

// Sums the weights of every block into sums; returns the total.
static double sum_weights(sampler *s, const float *logits, float inverse_temperature)
{
    float padded[BLOCK], weights[BLOCK];
    double total = 0;
    for (int b = 0; b < s->num_blocks; b++) {
        weigh_all(block_of(s, logits, b, padded), BLOCK, s->largest, inverse_temperature, weights);
        for (int half = BLOCK / 2; half; half /= 2)
            for (int i = 0; i < half; i++) weights[i] += weights[i + half];
        total += s->sums[b] = weights[0];
    }
    return total;
}

// Collects, in the order of their ids, the tokens whose logit is at least `smallest`.
static void gather(sampler *s, const float *logits, float smallest)
{
    s->num_candidates = 0;
    for (int b = 0; b < s->num_blocks; b++) {
        if (s->maxima[b] < smallest) continue;
        int end = (b + 1) * BLOCK < s->vocab_size ? (b + 1) * BLOCK : s->vocab_size;
        for (int i = b * BLOCK; i < end; i++) {
            s->tokens[s->num_candidates] = i;
            s->values[s->num_candidates] = logits[i];
            s->num_candidates += logits[i] >= smallest;
        }
    }
}

// Unsigned numbers in the order of the floats; -0 is 0.
static uint32_t order_key(float x)
{
    uint32_t bits = float_to_bits(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float key_value(uint32_t key)
{
    return bits_to_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

// What lies in each bucket of a range of logits.
typedef struct histogram {
    double amounts[RADIX];
    bool seen[RADIX];
} histogram;

// The lowest seen bucket above which, `*above` included, lies less than `limit`; adds what lies above it to
// *above.
static uint32_t find_bucket(const histogram *h, double limit, double *above)
{
    uint32_t best = 0;
    double running = *above;
    for (int bucket = RADIX - 1; bucket >= 0 && running < limit; bucket--) {
        if (!h->seen[bucket]) continue;
        best = (uint32_t)bucket;
        *above = running;
        running += h->amounts[bucket];
    }
    return best;
}

// 64 buckets a unit below the largest logit; the lowest takes the rest.
static uint32_t coarse_bucket(const sampler *s, float logit)
{
    float distance = (s->largest - logit) * 64.0f;
    return (uint32_t)(RADIX - 1) - (uint32_t)(distance < RADIX - 1 ? distance : RADIX - 1);
}

// Leaves in amounts the candidates of the coarse bucket that holds the threshold; returns how many there are.
static size_t select_coarse(sampler *s, double limit, bool by_mass, double *above)
{
    histogram h = {0};
    if (by_mass) weigh_all(s->values, s->num_candidates, s->largest, 1, s->weights);
    for (size_t i = 0; i < s->num_candidates; i++) {
        uint32_t bucket = coarse_bucket(s, s->values[i]);
        h.amounts[bucket] += by_mass ? s->weights[i] : 1;
        h.seen[bucket] = true;
    }
    uint32_t best = find_bucket(&h, limit, above);
    size_t count = 0;
    for (size_t i = 0; i < s->num_candidates; i++) {
        s->amounts[count] = (amount){s->values[i], by_mass ? s->weights[i] : 1};
        count += coarse_bucket(s, s->values[i]) == best;
    }
    return count;
}

// The smallest candidate logit above which lies less than `limit`: that many candidates or, by_mass, that
// much of the weights' sum. *above is what lies strictly above it. One coarse step, then a radix search over
// the logits' bits.
static float select_threshold(sampler *s, double limit, bool by_mass, double *above)
{
    *above = 0;
    size_t count = select_coarse(s, limit, by_mass, above);
    uint32_t prefix = 0, known = 0;
    for (int shift = 32 - RADIX_BITS; known != UINT32_MAX;
         shift = shift > RADIX_BITS ? shift - RADIX_BITS : 0) {
        histogram h = {0};
        uint32_t window = (uint32_t)(RADIX - 1) << shift & ~known;
        for (size_t i = 0; i < count; i++) {
            uint32_t key = order_key(s->amounts[i].logit);
            if ((key & known) != prefix) continue;
            h.amounts[(key & window) >> shift] += s->amounts[i].value;
            h.seen[(key & window) >> shift] = true;
        }
        prefix |= find_bucket(&h, limit, above) << shift;
        known |= window;
    }
    return key_value(prefix);
}

// A logit that at least `count` logits reach: the count-th largest block maximum.
static float bound_count(sampler *s, size_t count)
{
    double above;
    if (count > (size_t)s->num_blocks) return -INFINITY;
    memcpy(s->values, s->maxima, (size_t)s->num_blocks * sizeof *s->values);
    s->num_candidates = (size_t)s->num_blocks;
    return select_threshold(s, (double)count, false, &above);
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

// Keeps the candidates of at least `smallest`, and of those that equal `tied` the first `num_tied` only.
static void keep(sampler *s, float smallest, float tied, size_t num_tied)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->num_candidates; i++) {
        float logit = s->values[i];
        bool equal = logit == tied, stays = logit >= smallest && !(equal && num_tied == 0);
        s->tokens[kept] = s->tokens[i];
        s->values[kept] = logit;
        kept += stays;
        num_tied -= stays && equal;
    }
    s->num_candidates = kept;
}

// Leaves the candidates that top_p, min_p and top_k let through. `total` is the sum of all weights.
static void filter(sampler *s, const float *logits, double total)
{
    const sampler_options *o = &s->options;
    bool top_p = o->top_p > 0 && o->top_p < 1;
    bool top_k = o->top_k > 0 && o->top_k < s->vocab_size;
    float smallest = -INFINITY, bound = -INFINITY, tied = INFINITY;
    size_t num_tied = 0;
    double above;
    if (top_k) bound = bound_count(s, (size_t)o->top_k);
    if (o->min_p > 0) smallest = (float)(s->largest + portable_log((double)o->min_p));
    // All logits below this one together have less than what top-p leaves out.
    if (top_p)
        bound = larger(
            bound, (float)(s->largest + portable_log((1 - (double)o->top_p) * total * 0.99 / s->vocab_size)));
    gather(s, logits, larger(bound, smallest));
    if (top_p) smallest = larger(smallest, select_threshold(s, o->top_p * total, true, &above));
    if (top_k) {
        tied = select_threshold(s, o->top_k, false, &above);
        num_tied = (size_t)o->top_k - (size_t)above;
        smallest = larger(smallest, tied);
    }
    keep(s, smallest, tied, num_tied);
}

static int32_t draw_candidate(sampler *s)
{
    float inverse = 1 / s->options.temperature;
    double total = 0, running = 0;
    weigh_all(s->values, s->num_candidates, s->largest, inverse, s->weights);
    for (size_t i = 0; i < s->num_candidates; i++) total += s->weights[i];
    double target = next_uniform(s) * total;
    int32_t token = -1;
    for (size_t i = 0; i < s->num_candidates && running <= target; i++) {
        running += s->weights[i];
        if (s->weights[i] > 0) token = s->tokens[i];
    }
    return token;
}

// From the whole vocabulary: first the block, then the token in it.
static int32_t draw_token(sampler *s, const float *logits)
{
    float inverse = 1 / s->options.temperature;
    double target = next_uniform(s) * sum_weights(s, logits, inverse), after = 0, running = 0;
    int block = 0;
    for (int b = 0; b < s->num_blocks && after <= target; b++) {
        if (s->sums[b] > 0) block = b, running = after;
        after += s->sums[b];
    }
    int32_t token = -1;
    for (int i = block * BLOCK; i < (block + 1) * BLOCK && i < s->vocab_size && running <= target; i++) {
        float weight = weigh(s, logits[i], inverse);
        running += weight;
        if (weight > 0) token = i;
    }
    return token;
}

static int32_t most_likely(const sampler *s, const float *logits)
{
    int b = 0;
    while (s->maxima[b] != s->largest) b++;
    int32_t token = b * BLOCK;
    while (logits[token] != s->largest) token++;
    return token;
}

static void fill_top(sampler *s, const float *logits, int count, double log_total, sampler_result *result)
{
    double above;
    if (count > s->vocab_size) count = s->vocab_size;
    gather(s, logits, bound_count(s, (size_t)count));
    float tied = select_threshold(s, count, false, &above);
    keep(s, tied, tied, (size_t)count - (size_t)above);
    for (int i = 0; i < count; i++) {
        float logit = s->values[i];
        sampler_logprob entry = {s->tokens[i], (float)((double)logit - s->largest - log_total)};
        int place = i;
        for (; place > 0 && logits[s->top[place - 1].token] < logit; place--)
            s->top[place] = s->top[place - 1];
        s->top[place] = entry;
    }
    result->top = s->top;
    result->num_top = count;
}

llm_status sampler_sample(sampler *s, float *logits, const int32_t *history, size_t history_length,
                          sampler_result *result, llm_error *err)
{
    const sampler_options *o = &s->options;
    *result = (sampler_result){.token = -1, .logprob = NAN};
    apply_penalties(s, logits, history, history_length);
    if (!scan(s, logits)) return error_set(err, LLM_INTERNAL_ERROR, "the model's output is not a number");
    bool random = o->temperature > 0, logprobs = o->logprobs || o->top_logprobs > 0;
    bool top_p = random && o->top_p > 0 && o->top_p < 1;
    double total = logprobs || top_p ? sum_weights(s, logits, 1) : 0;
    double log_total = logprobs ? portable_log(total) : 0;
    if (o->top_logprobs > 0) fill_top(s, logits, o->top_logprobs, log_total, result);
    if (!random) {
        result->token = most_likely(s, logits);
    } else if (top_p || o->min_p > 0 || o->top_k > 0) {
        filter(s, logits, total);
        result->token = draw_candidate(s);
    } else {
        result->token = draw_token(s, logits);
    }
    if (logprobs) result->logprob = (float)((double)logits[result->token] - s->largest - log_total);
    return LLM_OK;
}
