// What the files of transfers share: one run over curl's multi interface, and its single handles.
#ifndef MODELS_TRANSFER_PARTS_H
#define MODELS_TRANSFER_PARTS_H
#include "models/transfer.h"
#include <curl/curl.h>

typedef enum phase_kind {
    PHASE_WAITING, // for its time, or for prepare's consent
    PHASE_READY,   // goes on to another address at once
    PHASE_RUNNING,
    PHASE_DONE,
    PHASE_FAILED
} phase_kind;

typedef struct transfer_run {
    transfer *list;
    size_t count;
    const hub_settings *settings;
    const transfer_control *control;
    CURLM *multi;
    int running;
} transfer_run;

llm_status transfer_multi_open(transfer_run *run, llm_error *err);
llm_status transfer_open(transfer_run *run, transfer *t,
                         llm_error *err); // a handle for now_url (or url), running

#endif
