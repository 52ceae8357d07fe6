// Element types: names, sizes, and float conversion through the shortest plain loops.
#include "formats/dtype.h"
#include "base/half.h"
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[DTYPE_COUNT] = {
#define X(name, size) {#name, size},
    DTYPE_LIST(X)
#undef X
};

size_t dtype_size(dtype type) { return types[type].size; }
const char *dtype_name(dtype type) { return types[type].name; }

bool dtype_from_name(const char *name, size_t length, dtype *type)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (strlen(types[i].name) != length || memcmp(types[i].name, name, length) != 0) continue;
        *type = (dtype)i;
        return true;
    }
    return false;
}

bool dtype_is_float(dtype type)
{
    return type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16 || type == DTYPE_F64;
}

bool dtype_to_float(dtype type, const void *source, float *target, size_t count)
{
    const unsigned char *bytes = source;
    uint16_t half;
    double real;
    switch (type) {
    case DTYPE_F32:
        if (count) memcpy(target, source, count * sizeof *target);
        return true;
    case DTYPE_F16:
        for (size_t i = 0; i < count; i++) memcpy(&half, bytes + 2 * i, 2), target[i] = f16_to_float(half);
        return true;
    case DTYPE_BF16:
        for (size_t i = 0; i < count; i++) memcpy(&half, bytes + 2 * i, 2), target[i] = bf16_to_float(half);
        return true;
    case DTYPE_F64:
        for (size_t i = 0; i < count; i++) memcpy(&real, bytes + 8 * i, 8), target[i] = (float)real;
        return true;
    default: return false;
    }
}

bool dtype_from_float(dtype type, const float *source, void *target, size_t count)
{
    unsigned char *bytes = target;
    uint16_t half;
    double real;
    switch (type) {
    case DTYPE_F32:
        if (count) memcpy(target, source, count * sizeof *source);
        return true;
    case DTYPE_F16:
        for (size_t i = 0; i < count; i++) half = float_to_f16(source[i]), memcpy(bytes + 2 * i, &half, 2);
        return true;
    case DTYPE_BF16:
        for (size_t i = 0; i < count; i++) half = float_to_bf16(source[i]), memcpy(bytes + 2 * i, &half, 2);
        return true;
    case DTYPE_F64:
        for (size_t i = 0; i < count; i++) real = (double)source[i], memcpy(bytes + 8 * i, &real, 8);
        return true;
    default: return false;
    }
}
