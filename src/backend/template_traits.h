// What a chat template can do with tools, found out by rendering it.
#ifndef BACKEND_TEMPLATE_TRAITS_H
#define BACKEND_TEMPLATE_TRAITS_H
#include "text/chat_template.h"

typedef struct template_traits {
    bool known;            // whether the rest is filled
    bool shows_tools;      // `tools` changes what it writes
    bool tools_in_system;  // it reads them as text from the system message instead (Phi-4-mini)
    bool text_arguments;   // it takes a call's arguments as JSON text, not as an object
} template_traits;

llm_status template_traits_find(const chat_template *chat, template_traits *traits, llm_error *err);

#endif
