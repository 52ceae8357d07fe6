// Checks a description against itself, so that engines may index and multiply without a second thought.
#include "engine/model_desc.h"
#include <math.h>
#include <string.h>

// Generous for every published model; products of two of them fit 64 bits, and a row of activations fits an
// int.
enum {
    MAX_HIDDEN = 1 << 16,
    MAX_PROJECTION = 1 << 20, // heads * head_dim, the intermediate size
    MAX_HEAD_DIM = 1 << 13,
    MAX_BLOCKS = 1 << 10,
    MAX_VOCAB = 1 << 22,
    MAX_TENSORS = 1 << 20,
};

typedef struct check {
    const model_desc *desc;
    int block; // -1: outside of the blocks
    llm_error *err;
    bool failed;
} check;

void model_desc_free(model_desc *desc)
{
    if (!desc) return;
    arena_free(&desc->memory);
    *desc = (model_desc){0};
}

static void require(check *c, bool fits, const char *what)
{
    if (fits || c->failed) return;
    c->failed = true;
    if (c->block >= 0)
        error_set(c->err, LLM_UNSUPPORTED_FORMAT, "layer %d: %s does not fit the model", c->block, what);
    else
        error_set(c->err, LLM_UNSUPPORTED_FORMAT, "%s does not fit the model", what);
}

static bool in_range(int value, int limit)
{
    return value >= 1 && value <= limit;
}

// The tensor at `index` has this shape.
static bool has_shape(const check *c, int index, int rows, int cols)
{
    if (index < 0 || index >= c->desc->num_tensors) return false;
    const tensor_desc *tensor = &c->desc->tensors[index];
    return tensor->rows == rows && tensor->cols == cols;
}

static void check_linear(check *c, const linear_desc *linear, int rows, int cols, const char *what)
{
    bool exists = linear->weight >= 0 && linear->weight < c->desc->num_tensors;
    require(c, exists && linear->rows == rows && linear->cols == cols, what);
    if (c->failed) return;
    const tensor_desc *tensor = &c->desc->tensors[linear->weight];
    require(c,
            tensor->cols == cols && linear->row_begin >= 0 && rows <= tensor->rows &&
                linear->row_begin <= tensor->rows - rows,
            what);
    require(c, linear->bias == NO_TENSOR || has_shape(c, linear->bias, 1, tensor->rows), what);
}

// A norm of `size`, or of `other_size` elements.
static void check_norm(check *c, const norm_desc *norm, int size, int other_size, const char *what)
{
    if (norm->kind == NORM_NONE) return;
    require(c, norm->kind == NORM_RMS || norm->kind == NORM_LAYER, what);
    require(c, norm->size == size || norm->size == other_size, what);
    require(c, norm->eps >= 0 && norm->eps < 1 && isfinite(norm->weight_offset), what);
    require(c, norm->weight == NO_TENSOR || has_shape(c, norm->weight, 1, norm->size), what);
    require(c, norm->bias == NO_TENSOR || has_shape(c, norm->bias, 1, norm->size), what);
}

static void check_attention(check *c, const attention_desc *a)
{
    int hidden = c->desc->hidden_size;
    require(c, in_range(a->head_dim, MAX_HEAD_DIM), "head_dim");
    require(c,
            in_range(a->num_heads, MAX_PROJECTION) && in_range(a->num_kv_heads, a->num_heads) &&
                a->num_heads % a->num_kv_heads == 0,
            "the number of attention heads");
    require(c, (int64_t)a->num_heads * a->head_dim <= MAX_PROJECTION, "heads * head_dim");
    if (c->failed) return;
    int q_size = a->num_heads * a->head_dim, kv_size = a->num_kv_heads * a->head_dim;
    check_linear(c, &a->q, q_size, hidden, "the query projection");
    check_linear(c, &a->k, kv_size, hidden, "the key projection");
    check_linear(c, &a->v, kv_size, hidden, "the value projection");
    check_linear(c, &a->o, hidden, q_size, "the output projection");
    check_norm(c, &a->q_norm, a->head_dim, q_size, "the query norm");
    check_norm(c, &a->k_norm, a->head_dim, kv_size, "the key norm");
    require(c, isfinite(a->scale) && a->scale != 0, "the attention scale");
    require(c, isfinite(a->score_softcap) && a->score_softcap >= 0, "the attention softcap");
    require(c, a->window >= 0, "the attention window");
    require(c, a->rope >= -1 && a->rope < c->desc->num_ropes, "the position embedding");
    if (!c->failed && a->rope >= 0)
        require(c, c->desc->ropes[a->rope].dims <= a->head_dim, "the size of the position embedding");
}

static void check_ffn(check *c, const ffn_desc *f)
{
    int hidden = c->desc->hidden_size;
    require(c, in_range(f->size, MAX_PROJECTION), "the intermediate size");
    require(c, f->activation >= ACTIVATION_SILU && f->activation <= ACTIVATION_RELU2, "the activation");
    if (f->gate.weight != NO_TENSOR) check_linear(c, &f->gate, f->size, hidden, "the gate projection");
    check_linear(c, &f->up, f->size, hidden, "the up projection");
    check_linear(c, &f->down, hidden, f->size, "the down projection");
}

static void check_block(check *c, const block_desc *block)
{
    int hidden = c->desc->hidden_size;
    check_norm(c, &block->pre_attention, hidden, hidden, "the norm before attention");
    check_norm(c, &block->post_attention, hidden, hidden, "the norm after attention");
    check_norm(c, &block->pre_ffn, hidden, hidden, "the norm before the feed-forward part");
    check_norm(c, &block->post_ffn, hidden, hidden, "the norm after the feed-forward part");
    check_attention(c, &block->attention);
    check_ffn(c, &block->ffn);
    require(c, isfinite(block->residual_scale), "the residual scale");
}

static void check_ropes(check *c)
{
    const model_desc *d = c->desc;
    require(c, d->num_ropes >= 0 && (d->num_ropes == 0 || d->ropes), "the position embedding");
    for (int i = 0; i < d->num_ropes && !c->failed; i++) {
        const rope_desc *rope = &d->ropes[i];
        require(c, in_range(rope->dims, MAX_HEAD_DIM) && rope->dims % 2 == 0 && rope->inv_freq,
                "the size of the position embedding");
        require(c, isfinite(rope->scale), "the scale of the position embedding");
        require(c, rope->base >= 0 && isfinite(rope->base) && isfinite(rope->position_scale), "the base of the position embedding");
        for (int j = 0; j < rope->dims / 2 && !c->failed; j++)
            require(c, isfinite(rope->inv_freq[j]), "a frequency of the position embedding");
    }
}

static void check_tensors(check *c)
{
    const model_desc *d = c->desc;
    require(c, in_range(d->num_tensors, MAX_TENSORS) && d->tensors, "the number of tensors");
    for (int i = 0; i < d->num_tensors && !c->failed; i++) {
        const tensor_desc *tensor = &d->tensors[i];
        bool fits = tensor->name && in_range(tensor->rows, MAX_VOCAB) && in_range(tensor->cols, MAX_VOCAB);
        require(c, fits, tensor->name ? tensor->name : "a tensor without a name");
    }
}

llm_status model_desc_check(const model_desc *desc, llm_error *err)
{
    check c = {.desc = desc, .block = -1, .err = err};
    require(&c, in_range(desc->hidden_size, MAX_HIDDEN), "the hidden size");
    require(&c, in_range(desc->vocab_size, MAX_VOCAB), "the vocabulary size");
    require(&c, in_range(desc->num_blocks, MAX_BLOCKS) && desc->blocks, "the number of layers");
    require(&c, desc->context_length >= 1, "the context length");
    check_tensors(&c);
    check_ropes(&c);
    if (c.failed) return LLM_UNSUPPORTED_FORMAT;
    require(&c, has_shape(&c, desc->embedding, desc->vocab_size, desc->hidden_size), "the embedding");
    require(&c, isfinite(desc->embedding_scale), "the embedding scale");
    for (c.block = 0; c.block < desc->num_blocks && !c.failed; c.block++)
        check_block(&c, &desc->blocks[c.block]);
    c.block = -1;
    check_norm(&c, &desc->final_norm, desc->hidden_size, desc->hidden_size, "the final norm");
    check_linear(&c, &desc->head, desc->vocab_size, desc->hidden_size, "the output head");
    require(&c, isfinite(desc->logit_scale) && desc->logit_scale != 0, "the logit scale");
    require(&c, isfinite(desc->logit_softcap) && desc->logit_softcap >= 0, "the logit softcap");
    return c.failed ? LLM_UNSUPPORTED_FORMAT : LLM_OK;
}

void block_desc_linears(const block_desc *block, const linear_desc *linears[BLOCK_LINEARS])
{
    const attention_desc *a = &block->attention;
    const ffn_desc *f = &block->ffn;
    const linear_desc *all[BLOCK_LINEARS] = {&a->q, &a->k, &a->v, &a->o, &f->gate, &f->up, &f->down};
    memcpy(linears, all, sizeof all);
}

bool model_desc_is_tied(const model_desc *desc)
{
    return desc->head.weight == desc->embedding && desc->head.row_begin == 0 && desc->head.rows == desc->vocab_size;
}

bool model_desc_is_linear(const model_desc *desc, int tensor)
{
    if (tensor < 0 || tensor == desc->embedding) return false;
    bool found = desc->head.weight == tensor;
    for (int i = 0; i < desc->num_blocks; i++) {
        const linear_desc *linears[BLOCK_LINEARS];
        block_desc_linears(&desc->blocks[i], linears);
        for (int j = 0; j < BLOCK_LINEARS; j++) found |= linears[j]->weight == tensor;
    }
    return found;
}
