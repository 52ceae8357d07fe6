// The hub's cache as Hugging Face's tools lay it out, which we share with them:
//     <cache>/models--owner--name/blobs/<etag>                   contents
//                                /snapshots/<commit>/<file>      relative links to blobs
//                                /refs/<branch or tag>           the commit it meant last
//     <cache>/.locks/models--owner--name/<etag>.lock
#ifndef MODELS_HUB_CACHE_H
#define MODELS_HUB_CACHE_H
#include "models/hub_listing.h"
#include "models/hub_settings.h"

char *cache_repository(const hub_settings *settings, const char *id); // owned; NULL without memory
char *cache_locks(const hub_settings *settings, const char *id);      // likewise
bool cache_folder_id(const char *folder, char *id,
                     size_t capacity); // "models--owner--name" to "owner/name"; false: another thing

// The commit that the revision means here; false: not known. A damaged ref is one that is not there.
bool cache_read_ref(const char *repository, const char *revision, char commit[41]);
llm_status cache_write_ref(const char *repository, const char *revision, const char *commit, llm_error *err);
// Makes snapshots/<commit>/<path> a relative link to blobs/<name>, whatever was there.
llm_status cache_link(const char *repository, const char *commit, const char *path, const char *name,
                      llm_error *err);

// Whether a snapshot has all that is wanted of it: of a model configuration, every shard of the weights and a
// tokenizer; and whatever the listing that Python tools leave beside it (trees/<commit>.json) says there is
// of these.
bool cache_is_complete(const char *repository, const char *commit, hub_want want, const char *gguf);
bool cache_has_gguf(const char *repository, const char *commit); // the snapshot is that of one GGUF file

// The snapshot's folder if it is complete, or its GGUF file where that is what is wanted or all there is;
// owned. Else NULL. Does not touch the network.
char *cache_find(const hub_settings *settings, const char *id, const char *revision, hub_want want,
                 const char *gguf);

#endif
