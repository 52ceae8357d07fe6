// Questions to the hub: what a revision holds, and what an unhappy answer means.
#ifndef MODELS_HUB_ASK_H
#define MODELS_HUB_ASK_H
#include "models/hub.h"
#include "models/transfer.h"

// The list of wanted files at the revision, each with its blob's name. Sizes may be unknown at hubs that do
// not say them.
llm_status hub_ask_listing(const hub_settings *settings, const hub_request *request,
                           const transfer_control *control, hub_listing *listing, llm_error *err);
llm_status hub_file_url(const hub_settings *settings, const hub_request *request, const hub_listing *listing,
                        const hub_file *file, char **url, llm_error *err); // owned

typedef struct hub_context { // of hub_explain
    const hub_settings *settings;
    const hub_request *request;
} hub_context;
// A transfer's explain; its context is a hub_context. Replaces the message where the hub's answer has a
// meaning.
llm_status hub_explain(const transfer *t, llm_error *err);

#endif
