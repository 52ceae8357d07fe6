// Forward passes: chunks of a batch through the layers, single tokens with the next one begun ahead.
#include "base/mem.h"
#include "engine/mlx/mlx_engine.h"
#include <string.h>

enum {
    HEAD_ROWS = 128,    // whose logits are computed together
    SUBMIT_LAYERS = 4,  // of a prompt, handed to a GPU together: it begins while the graph of the next ones is built
    HITS_TO_TRUST = 4,  // guesses in a row that were right, before a token is computed ahead
};

// A chunk on its way through the layers.
typedef struct pass {
    mlx_graph graph;
    mlx_kv *next;           // [num_spans] of the layer that is built
    mx_array **outputs;     // what the next submission computes: keys and values, and one more
    int num_outputs;
    mx_array *carried;      // graph.hidden, when it was kept over a submission
    int32_t *tokens;        // [chunk_rows]
    int32_t *logit_rows;    // [chunk_rows]: rows whose logits are wanted
    int num_logit_rows;
    llm_error *err;
} pass;

static void pass_free(pass *p)
{
    for (int i = 0; p->graph.spans && i < p->graph.num_spans; i++)
        for (int j = 0; j < 2; j++) mx_release(p->graph.spans[i].masks[j]);
    mx_release(p->carried);
    mem_free(p->graph.spans);
    mem_free(p->graph.parts);
    mem_free(p->graph.runs);
    mem_free(p->next);
    mem_free(p->outputs);
    mem_free(p->tokens);
    mem_free(p->logit_rows);
}

static llm_status pass_create(pass *p, mlx_model *model, int max_spans, llm_error *err)
{
    size_t spans = (size_t)max_spans, rows = (size_t)model->engine->chunk_rows;
    *p = (pass){.graph = {.model = model, .s = model->scope}, .err = err};
    p->graph.spans = mem_alloc_zero(spans, sizeof *p->graph.spans);
    p->graph.parts = mem_alloc_zero(spans, sizeof *p->graph.parts);
    p->graph.runs = mem_alloc_zero(spans, sizeof *p->graph.runs);
    p->next = mem_alloc_zero(spans, sizeof *p->next);
    p->outputs = mem_alloc_zero(2 * spans * (size_t)model->desc.num_blocks + 2, sizeof *p->outputs);
    p->tokens = mem_alloc_zero(rows, sizeof *p->tokens);
    p->logit_rows = mem_alloc_zero(rows, sizeof *p->logit_rows);
    if (p->graph.spans && p->graph.parts && p->graph.runs && p->next && p->outputs && p->tokens && p->logit_rows) return LLM_OK;
    pass_free(p);
    return error_no_memory(err, "a forward pass");
}

static void drop_masks(pass *p)
{
    for (int i = 0; i < p->graph.num_spans; i++)
        for (int j = 0; j < 2; j++) mx_release(p->graph.spans[i].masks[j]), p->graph.spans[i].masks[j] = NULL;
}

// Builds one layer. The sequences get the arrays that it makes: after a failure, mlx_seq_settle finds the old ones behind
// them. (Were the old ones held until the new ones are there, MLX would copy the cache for every token.)
static bool build_layer(pass *p, int layer)
{
    graph_layer(&p->graph, layer, p->next);
    bool built = mx_scope_failure(p->graph.s) == MX_NO_FAILURE;
    for (int i = 0; i < p->graph.num_spans; i++) {
        mlx_kv *next = &p->next[i], *kv = &p->graph.spans[i].seq->layers[layer];
        if (built) {
            p->outputs[p->num_outputs++] = next->keys;
            p->outputs[p->num_outputs++] = next->values;
        }
        mx_release(built ? kv->keys : next->keys);
        mx_release(built ? kv->values : next->values);
        if (built) *kv = *next;
    }
    return built;
}

static bool build_embedding(pass *p)
{
    drop_masks(p);
    int shape[2] = {1, p->graph.num_rows};
    graph_embed(&p->graph, mx_from_data(p->graph.s, p->tokens, DTYPE_I32, shape, 2));
    return mx_scope_failure(p->graph.s) == MX_NO_FAILURE;
}

// Has everything computed that was built; `hidden` lives on.
static bool submit(pass *p, bool wait, bool keep_hidden)
{
    mx_scope *s = p->graph.s;
    mx_array *kept = keep_hidden ? mx_keep(s, p->graph.hidden) : NULL;
    if (kept) p->outputs[p->num_outputs++] = kept;
    bool done = wait ? mx_eval(s, p->outputs, p->num_outputs) : mx_async_eval(s, p->outputs, p->num_outputs);
    mx_release(p->carried);
    p->graph.hidden = p->carried = kept;
    p->num_outputs = 0;
    return done;
}

static llm_status failed(const pass *p)
{
    return mlx_error(p->graph.s, "a forward pass", p->err);
}

// The rows whose logits are wanted: a view where they follow each other.
static mx_array *wanted_rows(pass *p)
{
    mx_scope *s = p->graph.s;
    int count = p->num_logit_rows, first = p->logit_rows[0], last = p->logit_rows[count - 1];
    if (last - first == count - 1) return mx_slice(s, p->graph.hidden, 1, first, last + 1);
    return mx_take(s, p->graph.hidden, mx_from_data(s, p->logit_rows, DTYPE_I32, &count, 1), 1);
}

// Whose wanted rows [begin, end) the head is given.
static void begin_head_rows(pass *p, int begin, int end)
{
    graph_begin_rows(&p->graph);
    for (int i = 0; i < p->graph.num_spans; i++) {
        const mlx_span *span = &p->graph.spans[i];
        int rows = 0;
        for (int j = begin; j < end; j++) rows += p->logit_rows[j] >= span->row && p->logit_rows[j] < span->row + span->rows;
        graph_add_rows(&p->graph, span->seq, rows);
    }
}

static llm_status read_logits(pass *p, float **logits)
{
    mx_scope *s = p->graph.s;
    size_t vocab = (size_t)p->graph.model->desc.vocab_size;
    for (int i = 0; i < p->num_logit_rows; i += HEAD_ROWS) {
        int end = i + HEAD_ROWS < p->num_logit_rows ? i + HEAD_ROWS : p->num_logit_rows;
        size_t count = (size_t)(end - i) * vocab;
        begin_head_rows(p, i, end);
        if (!mx_read(s, graph_head(&p->graph, mx_slice(s, p->graph.hidden, 1, i, end)), *logits, count * sizeof **logits)) return failed(p);
        *logits += count;
    }
    return LLM_OK;
}

// `more`: another chunk of the batch follows, whose evaluation waits for this one's.
static llm_status run_chunk(pass *p, bool more, float **logits)
{
    mlx_model *model = p->graph.model;
    int layers = model->desc.num_blocks;
    bool by_layer = model->engine->by_layer, begun = build_embedding(p);
    for (int layer = 0; begun && layer < layers; layer++) {
        if (atomic_load_explicit(&model->interrupted, memory_order_relaxed)) {
            mx_scope_clear(p->graph.s);
            return error_set(p->err, LLM_CANCELLED, "the forward pass was interrupted");
        }
        begun = build_layer(p, layer);
        if (begun && layer + 1 < layers && (by_layer || layer % SUBMIT_LAYERS == SUBMIT_LAYERS - 1)) begun = submit(p, by_layer, true);
    }
    if (begun && p->num_logit_rows) p->graph.hidden = wanted_rows(p);
    // Without logits, nothing reads what the last layer adds.
    bool wait = p->num_logit_rows == 0 && (by_layer || !more);
    if (!begun || !submit(p, wait, p->num_logit_rows > 0)) return failed(p);
    return read_logits(p, logits);
}

// Puts up to chunk_rows of the batch's remaining tokens into the chunk; `done` counts each item's tokens. The last token of
// a prompt that is alone waits for a chunk without the others, as in mlx-lm: in a model's own type the bits
// of a row depend on how many rows are computed together. Returns whether anything is left.
static bool fill_chunk(pass *p, const engine_batch_item *items, mlx_seq *const *seqs, int *done, int num_items)
{
    mlx_graph *g = &p->graph;
    int limit = g->model->engine->chunk_rows;
    bool more = false;
    drop_masks(p);
    g->num_rows = g->num_spans = p->num_logit_rows = 0;
    graph_begin_rows(g);
    for (int i = 0; i < num_items; i++) {
        int rows = items[i].num_tokens - done[i], room = limit - g->num_rows;
        if (num_items == 1 && items[i].num_logits == 1 && rows > 1) rows--;
        if (rows > room) rows = room;
        more |= done[i] + rows < items[i].num_tokens;
        if (rows == 0) continue;
        g->spans[g->num_spans++] = (mlx_span){.seq = seqs[i], .row = g->num_rows, .rows = rows, .position = seqs[i]->length + done[i]};
        for (int t = 0; t < rows; t++, g->num_rows++) {
            p->tokens[g->num_rows] = items[i].tokens[done[i] + t];
            if (done[i] + t >= items[i].num_tokens - items[i].num_logits) p->logit_rows[p->num_logit_rows++] = g->num_rows;
        }
        graph_add_rows(g, seqs[i], rows);
        done[i] += rows;
    }
    return more;
}

static llm_status run_batch(pass *p, const engine_batch_item *items, mlx_seq *const *seqs, int num_items, float *logits)
{
    llm_status status = LLM_OK;
    int *done = mem_alloc_zero((size_t)num_items, sizeof *done);
    if (!done) return error_no_memory(p->err, "a forward pass");
    while (status == LLM_OK) {
        bool more = fill_chunk(p, items, seqs, done, num_items);
        if (p->graph.num_rows == 0) break;
        status = run_chunk(p, more, &logits);
    }
    mem_free(done);
    return status;
}

// ---- One token of one sequence

void mlx_forget_ahead(mlx_model *model, const mlx_seq *seq)
{
    if (!seq || model->guessed_seq == seq) model->guessed_seq = NULL;
    if (seq && model->ahead.seq != seq) return;
    mx_release(model->ahead.logits);
    mx_release(model->ahead.choice);
    model->ahead = (mlx_ahead){0};
}

// Begins the computation of one token's logits, and of the likeliest token after it. `tokens` NULL: the pass's.
static bool begin_step(pass *p, mlx_seq *seq, int position, const mx_array *token, mlx_ahead *step)
{
    mlx_model *model = seq->model;
    mx_scope *s = p->graph.s;
    p->graph.num_rows = p->graph.num_spans = 1;
    p->graph.spans[0] = (mlx_span){.seq = seq, .rows = 1, .position = position};
    graph_begin_rows(&p->graph);
    graph_add_rows(&p->graph, seq, 1);
    p->num_outputs = 0;
    *step = (mlx_ahead){.seq = seq, .position = position};
    if (token) graph_embed(&p->graph, token);
    else build_embedding(p);
    bool begun = true;
    for (int layer = 0; begun && layer < model->desc.num_blocks; layer++) begun = build_layer(p, layer);
    if (!begun) return false;
    mx_array *logits = graph_head(&p->graph, p->graph.hidden);
    step->choice = mx_keep(s, mx_argmax(s, logits));
    step->logits = mx_keep(s, logits);
    if (step->choice && step->logits) {
        p->outputs[p->num_outputs++] = step->logits;
        p->outputs[p->num_outputs++] = step->choice;
    }
    return mx_async_eval(s, p->outputs, p->num_outputs);
}

// Counts whether tokens are those that the logits made likeliest: greedy answers, and parts of others.
static void judge_guess(mlx_model *model, const mlx_seq *seq, int32_t token)
{
    bool guessed = model->guessed_seq == seq && model->guessed_position == seq->length;
    model->hits = guessed && model->guess == token ? model->hits + 1 : 0;
}

// While the host reads these logits and chooses from them, the device computes what follows the likeliest choice; the
// next call finds it begun. A wrong guess costs one step, and only after many right ones.
static llm_status run_step(pass *p, mlx_seq *seq, int32_t token, float *logits)
{
    mlx_model *model = seq->model;
    mx_scope *s = p->graph.s;
    judge_guess(model, seq, token);
    mlx_ahead step = {0};
    if (model->hits && model->ahead.seq == seq && model->ahead.position == seq->length) {
        step = model->ahead;
        model->ahead = (mlx_ahead){0};
    } else {
        mlx_forget_ahead(model, NULL);
        p->tokens[0] = token;
        begin_step(p, seq, seq->length, NULL, &step);
    }
    bool more = seq->length + 2 <= model->desc.context_length;
    if (model->engine->ahead && more && model->hits >= HITS_TO_TRUST && mx_scope_failure(s) == MX_NO_FAILURE)
        begin_step(p, seq, seq->length + 1, step.choice, &model->ahead);
    uint32_t choice = 0;
    bool read = mx_read(s, step.logits, logits, (size_t)model->desc.vocab_size * sizeof *logits) && mx_read(s, step.choice, &choice, sizeof choice);
    mx_release(step.logits);
    mx_release(step.choice);
    if (!read) {
        mlx_forget_ahead(model, NULL);
        return failed(p);
    }
    model->guessed_seq = seq;
    model->guessed_position = seq->length + 1;
    model->guess = (int)choice;
    return LLM_OK;
}

// ---- A batch

static llm_status check_length(const mlx_seq *seq, const engine_batch_item *item, llm_error *err)
{
    int context = seq->model->desc.context_length;
    if (item->num_tokens <= context - seq->length) return LLM_OK;
    long long total = (long long)seq->length + item->num_tokens;
    return error_set_amounts(err, LLM_CONTEXT_EXCEEDED, (uint64_t)total, (uint64_t)context, "%lld tokens exceed the context of %d", total, context);
}

llm_status mlx_forward(mlx_model *model, const engine_batch_item *items, mlx_seq *const *seqs, int num_items, float *logits,
                       llm_error *err)
{
    pass p;
    llm_status status = LLM_OK;
    bool step = num_items == 1 && items[0].num_tokens == 1 && items[0].num_logits == 1;
    if (atomic_load(&model->interrupted)) return error_set(err, LLM_CANCELLED, "the forward pass was interrupted");
    for (int i = 0; status == LLM_OK && i < num_items; i++) status = check_length(seqs[i], &items[i], err);
    for (int i = 0; status == LLM_OK && i < num_items; i++) {
        if (!step) mlx_forget_ahead(model, seqs[i]);
        status = mlx_seq_reserve(seqs[i], items[i].num_tokens + step, err);
    }
    if (status == LLM_OK) status = pass_create(&p, model, num_items, err);
    if (status != LLM_OK) return status;
    status = step ? run_step(&p, seqs[0], items[0].tokens[0], logits) : run_batch(&p, items, seqs, num_items, logits);
    // Only now do the sequences grow: after an error they are as they were.
    for (int i = 0; i < num_items; i++)
        if (status == LLM_OK) seqs[i]->length += items[i].num_tokens;
        else mlx_seq_settle(seqs[i]);
    pass_free(&p);
    mlx_note_memory(model);
    return status;
}

llm_status mlx_model_probe(mlx_model *model, llm_error *err)
{
    pass p;
    mlx_seq *seq;
    mx_scope *s = model->scope;
    llm_status status = mlx_seq_create(model, &seq, err);
    if (status != LLM_OK) return status;
    status = pass_create(&p, model, 1, err);
    if (status == LLM_OK) {
        p.graph.num_rows = p.graph.num_spans = 1;
        p.graph.spans[0] = (mlx_span){.seq = seq, .rows = 1};
        bool built = build_embedding(&p);
        for (int i = 0; built && i < model->desc.num_blocks; i++) {
            graph_layer(&p.graph, i, p.next);
            built = p.next[0].keys && mx_type(p.next[0].keys, &model->blocks[i].kv_type);
            mx_release(p.next[0].keys);
            mx_release(p.next[0].values);
        }
        if (!built || mx_dim(graph_head(&p.graph, p.graph.hidden), 2) != model->desc.vocab_size) status = mlx_error(s, "this model", err);
        mx_scope_clear(s);
        pass_free(&p);
    }
    mlx_seq_free(seq);
    return status;
}
