// Digests over libcrypto.
#include "models/digest.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

llm_status digest_begin(digest *d, digest_kind kind, uint64_t size, llm_error *err)
{
    char head[40];
    d->context = NULL;
    if (kind == DIGEST_NONE) return LLM_OK;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context ||
        EVP_DigestInit_ex(context, kind == DIGEST_SHA256 ? EVP_sha256() : EVP_sha1(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        return error_no_memory(err, "a digest");
    }
    d->context = context;
    int length = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    if (kind == DIGEST_GIT_SHA1) digest_add(d, head, (size_t)length + 1);
    return LLM_OK;
}

void digest_add(digest *d, const void *bytes, size_t length)
{
    if (d->context && length) EVP_DigestUpdate(d->context, bytes, length);
}

void digest_end(digest *d, char text[DIGEST_TEXT])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (d->context) EVP_DigestFinal_ex(d->context, bytes, &length);
    for (unsigned i = 0; i < length; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    text[2 * length] = 0;
    digest_free(d);
}

void digest_free(digest *d)
{
    EVP_MD_CTX_free(d->context);
    d->context = NULL;
}

digest_kind digest_kind_of(const char *text)
{
    size_t length = strlen(text);
    if (strspn(text, "0123456789abcdef") != length) return DIGEST_NONE;
    return length == 64 ? DIGEST_SHA256 : length == 40 ? DIGEST_GIT_SHA1 : DIGEST_NONE;
}
