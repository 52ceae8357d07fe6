// Between the bridge's two halves: scopes, and exceptions that become a scope's failure.
#ifndef ENGINE_MLX_SHIM_HPP
#define ENGINE_MLX_SHIM_HPP
#include "engine/mlx/shim.h"
#include <cstdio>
#include <cstring>
#include <deque>
#include <mlx/mlx.h>
#include <new>
#include <string>

namespace mx = mlx::core;

struct mx_scope {
    std::deque<mx::array> arrays; // handles point into it
    mx_failure failure = MX_NO_FAILURE;
    char message[400] = "";
};

inline const mx::array &at(const mx_array *a)
{
    if (!a) throw std::invalid_argument("an array is missing");
    return *reinterpret_cast<const mx::array *>(a);
}

inline std::optional<mx::array> maybe(const mx_array *a)
{
    return a ? std::optional<mx::array>(at(a)) : std::nullopt;
}

inline mx_array *handle(mx::array *a)
{
    return reinterpret_cast<mx_array *>(a);
}

void fail(mx_scope *s, const char *message);

// Runs `body` unless the scope has failed; false, with the message kept, when it throws.
template <typename Body> bool guarded(mx_scope *s, Body &&body)
{
    if (s->failure != MX_NO_FAILURE) return false;
    try {
        body();
        return true;
    } catch (const std::bad_alloc &) {
        fail(s, "out of memory");
    } catch (const std::exception &e) {
        fail(s, e.what());
    } catch (...) {
        fail(s, "an unknown exception");
    }
    return false;
}

template <typename Make> mx_array *node(mx_scope *s, Make &&make)
{
    mx_array *result = nullptr;
    guarded(s, [&] {
        s->arrays.push_back(make());
        result = handle(&s->arrays.back());
    });
    return result;
}

struct type_pair {
    dtype ours;
    mx::Dtype theirs;
};
inline const type_pair types[] = {
    {DTYPE_F32, mx::float32}, {DTYPE_F16, mx::float16}, {DTYPE_BF16, mx::bfloat16}, {DTYPE_U8, mx::uint8},
    {DTYPE_U32, mx::uint32},  {DTYPE_I32, mx::int32},   {DTYPE_BOOL, mx::bool_},
};

#endif
