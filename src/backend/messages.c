// Owned messages.
#include "backend/messages.h"
#include "base/mem.h"
#include <string.h>

static const size_t texts[] = {offsetof(llm_message, role),      offsetof(llm_message, content),
                               offsetof(llm_message, reasoning), offsetof(llm_message, tool_calls_json),
                               offsetof(llm_message, tool_call_id), offsetof(llm_message, name)};
enum { NUM_TEXTS = sizeof texts / sizeof *texts };

static char **text_of(llm_message *message, size_t i) { return (char **)(void *)((char *)message + texts[i]); }

static void free_message(llm_message *message)
{
    for (size_t i = 0; i < NUM_TEXTS; i++) mem_free(*text_of(message, i));
}

llm_status message_list_add(message_list *list, const llm_message *message, llm_error *err)
{
    llm_message copy = *message;
    bool complete = mem_grow((void **)&list->items, &list->capacity, (size_t)list->count + 1, sizeof *list->items);
    for (size_t i = 0; i < NUM_TEXTS; i++) {
        char **text = text_of(&copy, i), *from = *text;
        *text = from && complete ? mem_copy_string(from) : NULL;
        complete &= !from || *text;
    }
    if (complete) return list->items[list->count++] = copy, LLM_OK;
    free_message(&copy);
    return error_no_memory(err, "the transcript");
}

llm_status message_list_move(message_list *to, message_list *from, llm_error *err)
{
    size_t count = (size_t)to->count + (size_t)from->count;
    if (from->count == 0) return LLM_OK;
    if (!mem_grow((void **)&to->items, &to->capacity, count, sizeof *to->items)) return error_no_memory(err, "the transcript");
    memcpy(to->items + to->count, from->items, (size_t)from->count * sizeof *from->items);
    to->count += from->count;
    from->count = 0;
    return LLM_OK;
}

void message_list_clear(message_list *list)
{
    for (int i = 0; i < list->count; i++) free_message(&list->items[i]);
    list->count = 0;
}

void message_list_free(message_list *list)
{
    message_list_clear(list);
    mem_free(list->items);
    *list = (message_list){0};
}
