// The bridge to libmlx: scopes, evaluation, memory and devices. Every exception becomes a scope's failure.
#include "engine/mlx/shim.hpp"
#include <atomic>
#include <chrono>
#include <mlx/primitives.h>
#include <mlx/version.h>
#include <unordered_set>

// MLX's allocators throw runtime errors that differ from others only in their words.
static bool speaks_of_memory(const char *message)
{
    for (const char *words : {"[malloc", "llocat", "out of memory", "OutOfMemory", "Insufficient Memory"})
        if (strstr(message, words)) return true;
    return false;
}

void fail(mx_scope *s, const char *message)
{
    s->failure = speaks_of_memory(message) ? MX_NO_MEMORY : MX_FAILED;
    snprintf(s->message, sizeof s->message, "%s", message);
}

// ---- Scopes and kept arrays

mx_scope *mx_scope_create(void)
{
    return new (std::nothrow) mx_scope;
}

void mx_scope_free(mx_scope *s)
{
    delete s;
}

void mx_scope_clear(mx_scope *s)
{
    s->arrays.clear();
    s->failure = MX_NO_FAILURE;
    s->message[0] = 0;
}

mx_failure mx_scope_failure(const mx_scope *s)
{
    return s->failure;
}

const char *mx_scope_message(const mx_scope *s)
{
    return s->message;
}

mx_array *mx_keep(mx_scope *s, const mx_array *a)
{
    mx_array *kept = nullptr;
    guarded(s, [&] { kept = handle(new mx::array(at(a))); });
    return kept;
}

void mx_release(mx_array *a)
{
    delete reinterpret_cast<mx::array *>(a);
}

mx_array *mx_keep_computed(const mx_array *a)
{
    if (!a) return nullptr;
    const mx::array *node = &at(a);
    while (node->status() == mx::array::Status::unscheduled) {
        if (!node->has_primitive() || node->inputs().empty()) return nullptr;
        node = &node->inputs()[0];
    }
    return handle(new (std::nothrow) mx::array(*node));
}

int mx_dim(const mx_array *a, int axis)
{
    if (!a) return 0;
    const auto &shape = at(a).shape();
    return axis < static_cast<int>(shape.size()) ? shape[axis] : 0;
}

uint64_t mx_bytes(const mx_array *a)
{
    return a ? at(a).nbytes() : 0;
}

bool mx_type(const mx_array *a, dtype *type)
{
    for (const auto &pair : types)
        if (a && pair.theirs == at(a).dtype()) return *type = pair.ours, true;
    return false;
}

// ---- Evaluation

static std::atomic<long> evaluations_left = -1; // -1: no limit

void mx_fail_after(long count)
{
    evaluations_left = count < 0 ? -1 : count;
}

static mx_costs costs;
static mx_visit visitor;
static void *visitor_user;

void mx_get_costs(mx_costs *out)
{
    *out = costs;
}

void mx_visit_operations(mx_visit visit, void *user)
{
    visitor = visit;
    visitor_user = user;
}

// Adds the time that it lives.
struct stopwatch {
    double &sum;
    std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
    ~stopwatch() { sum += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); }
};

static void visit(std::vector<mx::array> open)
{
    std::unordered_set<std::uintptr_t> seen;
    while (!open.empty()) {
        mx::array a = open.back();
        open.pop_back();
        if (!a.has_primitive() || a.status() != mx::array::Status::unscheduled || !seen.insert(a.id()).second) continue;
        visitor(visitor_user, a.primitive().name());
        open.insert(open.end(), a.inputs().begin(), a.inputs().end());
    }
}

static std::vector<mx::array> outputs(mx_scope *s, mx_array *const *arrays, int count)
{
    std::vector<mx::array> all;
    for (int i = 0; i < count; i++) all.push_back(at(arrays[i]));
    s->arrays.clear();
    if (evaluations_left == 0) {
        mx::eval(std::vector<mx::array>(all.begin(), all.begin() + count / 2));
        throw std::runtime_error("[malloc] a test wants this evaluation to fail");
    }
    if (evaluations_left > 0) evaluations_left--;
    if (visitor) visit(all);
    return all;
}

bool mx_eval(mx_scope *s, mx_array *const *arrays, int count)
{
    return guarded(s, [&] {
        std::vector<mx::array> all = outputs(s, arrays, count);
        stopwatch watch{costs.wait_seconds};
        mx::eval(std::move(all));
    });
}

bool mx_async_eval(mx_scope *s, mx_array *const *arrays, int count)
{
    return guarded(s, [&] {
        std::vector<mx::array> all = outputs(s, arrays, count);
        stopwatch watch{costs.begin_seconds};
        mx::async_eval(std::move(all));
    });
}

bool mx_read(mx_scope *s, const mx_array *a, void *target, size_t bytes)
{
    return guarded(s, [&] {
        mx::array whole = at(a);
        s->arrays.clear();
        stopwatch watch{costs.wait_seconds};
        whole.eval();
        // Only where it must be: a further operation would wait for everything that was begun after `a`.
        if (!whole.flags().row_contiguous) {
            whole = mx::contiguous(whole);
            whole.eval();
        }
        if (whole.nbytes() != bytes) throw std::invalid_argument("a result has another size than expected");
        memcpy(target, whole.data<uint8_t>(), bytes);
    });
}

// ---- Memory

mx_memory mx_get_memory(mx_scope *s)
{
    mx_memory memory = {};
    guarded(s, [&] { memory = {mx::get_active_memory(), mx::get_peak_memory(), mx::get_cache_memory()}; });
    return memory;
}

bool mx_reset_peak_memory(mx_scope *s)
{
    return guarded(s, [] { mx::reset_peak_memory(); });
}

bool mx_set_cache_limit(mx_scope *s, uint64_t bytes)
{
    return guarded(s, [&] { mx::set_cache_limit(bytes); });
}

bool mx_set_memory_limit(mx_scope *s, uint64_t bytes)
{
    return guarded(s, [&] {
        static const size_t first = mx::get_memory_limit();
        mx::set_memory_limit(bytes ? bytes : first);
    });
}

uint64_t mx_memory_limit(mx_scope *s)
{
    uint64_t limit = 0;
    guarded(s, [&] { limit = mx::get_memory_limit(); });
    return limit;
}

bool mx_set_wired_limit(mx_scope *s, uint64_t bytes)
{
    return guarded(s, [&] { mx::set_wired_limit(bytes); });
}

bool mx_clear_cache(mx_scope *s)
{
    return guarded(s, [] { mx::clear_cache(); });
}

// ---- The device

bool mx_has_gpu(void)
{
    try {
        return mx::is_available(mx::Device(mx::Device::gpu));
    } catch (...) {
        return false; // a driver that cannot be asked
    }
}

static uint64_t number_of(const mx::Device &device, const char *key)
{
    const auto &info = mx::device_info(device);
    auto found = info.find(key);
    const size_t *value = found == info.end() ? nullptr : std::get_if<size_t>(&found->second);
    return value ? *value : 0;
}

bool mx_open_device(mx_scope *s, bool gpu_wanted, mx_device *device)
{
    *device = {};
    return guarded(s, [&] {
        mx::Device chosen(gpu_wanted ? mx::Device::gpu : mx::Device::cpu);
        mx::set_default_device(chosen);
        const auto &info = mx::device_info(chosen);
        auto found = info.find("device_name");
        const std::string *name = found == info.end() ? nullptr : std::get_if<std::string>(&found->second);
        device->gpu = gpu_wanted;
        snprintf(device->name, sizeof device->name, "%s", name ? name->c_str() : "");
        snprintf(device->kind, sizeof device->kind, "%s", !gpu_wanted ? "cpu" : mx::metal::is_available() ? "metal" : "cuda");
        device->memory = number_of(chosen, "total_memory");
        if (!device->memory) device->memory = number_of(chosen, "memory_size");
    });
}

const char *mx_version(void)
{
    return mx::version();
}
