// Messages that are owned: a transcript, or what a turn adds to one.
#ifndef BACKEND_MESSAGES_H
#define BACKEND_MESSAGES_H
#include "base/error.h"

typedef struct message_list { // begins as {0}
    llm_message *items;       // every text is owned
    int count;
    size_t capacity;
} message_list;

llm_status message_list_add(message_list *list, const llm_message *message, llm_error *err); // copies
llm_status message_list_move(message_list *to, message_list *from, llm_error *err);          // all or nothing; empties `from`
void message_list_clear(message_list *list);                                                 // keeps the memory
void message_list_free(message_list *list);

#endif
