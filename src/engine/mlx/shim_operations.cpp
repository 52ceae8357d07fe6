// The operations of the bridge to libmlx: nodes of a graph, in the scope that they are made in.
#include "engine/mlx/shim.hpp"

static mx::Dtype their_type(dtype type)
{
    for (const auto &pair : types)
        if (pair.ours == type) return pair.theirs;
    throw std::invalid_argument("a type of elements that is not used here");
}

static mx::Shape shape_of(const int *shape, int dims)
{
    return mx::Shape(shape, shape + dims);
}

static mx::array number(float value, const mx::array &like)
{
    return mx::array(value, like.dtype());
}

// ---- Making arrays

mx_array *mx_from_data(mx_scope *s, const void *data, dtype type, const int *shape, int dims)
{
    return node(s, [&] {
        mx::Shape bytes = shape_of(shape, dims);
        bytes.back() *= static_cast<int>(dtype_size(type));
        return mx::view(mx::array(static_cast<const uint8_t *>(data), bytes, mx::uint8), their_type(type));
    });
}

mx_array *mx_zeros(mx_scope *s, dtype type, const int *shape, int dims)
{
    return node(s, [&] { return mx::zeros(shape_of(shape, dims), their_type(type)); });
}

mx_array *mx_scalar(mx_scope *s, float value, const mx_array *like)
{
    return node(s, [&] { return number(value, at(like)); });
}

mx_array *mx_mask(mx_scope *s, int q_begin, int q_end, int k_begin, int k_end, int window)
{
    return node(s, [&] {
        mx::array q = mx::reshape(mx::arange(q_begin, q_end), {1, 1, q_end - q_begin, 1});
        mx::array k = mx::reshape(mx::arange(k_begin, k_end), {1, 1, 1, k_end - k_begin});
        mx::array seen = mx::less_equal(k, q);
        if (window) seen = mx::logical_and(seen, mx::less(q, mx::add(k, mx::array(window))));
        return seen;
    });
}

// ---- Shapes

mx_array *mx_astype(mx_scope *s, const mx_array *a, dtype type)
{
    return node(s, [&] { return mx::astype(at(a), their_type(type)); });
}

mx_array *mx_reshape(mx_scope *s, const mx_array *a, const int *shape, int dims)
{
    return node(s, [&] { return mx::reshape(at(a), shape_of(shape, dims)); });
}

mx_array *mx_swap_axes(mx_scope *s, const mx_array *a, int axis1, int axis2)
{
    return node(s, [&] { return mx::swapaxes(at(a), axis1, axis2); });
}

mx_array *mx_slice(mx_scope *s, const mx_array *a, int axis, int begin, int end)
{
    return node(s, [&] {
        mx::Shape start(at(a).ndim(), 0), stop = at(a).shape();
        if (begin < 0 || begin > end || end > stop.at(axis)) throw std::invalid_argument("a slice reaches outside of its array");
        start[axis] = begin;
        stop[axis] = end;
        return mx::slice(at(a), start, stop);
    });
}

mx_array *mx_slice_update(mx_scope *s, const mx_array *a, const mx_array *update, int axis, int begin)
{
    return node(s, [&] {
        mx::Shape start(at(a).ndim(), 0), stop = at(update).shape();
        start.at(axis) = begin;
        stop.at(axis) += begin;
        if (begin < 0 || stop[axis] > at(a).shape(axis)) throw std::invalid_argument("an update reaches outside of its array");
        return mx::slice_update(at(a), at(update), start, stop);
    });
}

mx_array *mx_contiguous(mx_scope *s, const mx_array *a)
{
    return node(s, [&] { return mx::contiguous(at(a)); });
}

mx_array *mx_concatenate(mx_scope *s, mx_array *const *arrays, int count, int axis)
{
    return node(s, [&] {
        std::vector<mx::array> all;
        for (int i = 0; i < count; i++) all.push_back(at(arrays[i]));
        return mx::concatenate(all, axis);
    });
}

mx_array *mx_take(mx_scope *s, const mx_array *a, const mx_array *indices, int axis)
{
    return node(s, [&] { return mx::take(at(a), at(indices), axis); });
}

// ---- Arithmetic

mx_array *mx_add(mx_scope *s, const mx_array *a, const mx_array *b)
{
    return node(s, [&] { return mx::add(at(a), at(b)); });
}

mx_array *mx_subtract(mx_scope *s, const mx_array *a, const mx_array *b)
{
    return node(s, [&] { return mx::subtract(at(a), at(b)); });
}

mx_array *mx_multiply(mx_scope *s, const mx_array *a, const mx_array *b)
{
    return node(s, [&] { return mx::multiply(at(a), at(b)); });
}

mx_array *mx_divide(mx_scope *s, const mx_array *a, const mx_array *b)
{
    return node(s, [&] { return mx::divide(at(a), at(b)); });
}

using function = std::vector<mx::array> (*)(const std::vector<mx::array> &);

// One kernel on a GPU, whose compiler is a library; single operations on a processor. `compiled` is the caller's
// static, so that each function is compiled once.
static mx::array fused(function f, const std::function<std::vector<mx::array>(const std::vector<mx::array> &)> &compiled,
                       const std::vector<mx::array> &inputs)
{
    return (mx::default_device() == mx::Device::gpu ? compiled(inputs) : f(inputs))[0];
}

mx_array *mx_add_clipped(mx_scope *s, const mx_array *a, const mx_array *b)
{
    static const function f = [](const std::vector<mx::array> &in) -> std::vector<mx::array> {
        const float largest = 65504;
        mx::array sum = mx::add(mx::astype(in[0], mx::float32), mx::astype(in[1], mx::float32));
        return {mx::astype(mx::clip(sum, mx::array(-largest), mx::array(largest)), mx::float16)};
    };
    static const auto compiled = mx::compile(f, true);
    return node(s, [&] { return fused(f, compiled, {at(a), at(b)}); });
}

mx_array *mx_softcap(mx_scope *s, const mx_array *a, float cap)
{
    static const function f = [](const std::vector<mx::array> &in) -> std::vector<mx::array> {
        return {mx::multiply(mx::tanh(mx::divide(in[0], in[1])), in[1])};
    };
    static const auto compiled = mx::compile(f, true);
    return node(s, [&] { return fused(f, compiled, {at(a), number(cap, at(a))}); });
}

mx_array *mx_where(mx_scope *s, const mx_array *mask, const mx_array *a)
{
    return node(s, [&] {
        float lowest = static_cast<float>(mx::finfo(at(a).dtype()).min);
        return mx::where(at(mask), at(a), number(lowest, at(a)));
    });
}

mx_array *mx_softmax(mx_scope *s, const mx_array *a)
{
    return node(s, [&] { return mx::softmax(at(a), -1, true); });
}

mx_array *mx_argmax(mx_scope *s, const mx_array *a)
{
    return node(s, [&] { return mx::argmax(at(a), -1); });
}

mx_array *mx_matmul(mx_scope *s, const mx_array *a, const mx_array *b)
{
    return node(s, [&] { return mx::matmul(at(a), at(b)); });
}

static mx::array silu(const mx::array &x)
{
    return mx::multiply(x, mx::sigmoid(x));
}

static mx::array gelu(const mx::array &x)
{
    mx::array twice = mx::add(number(1, x), mx::erf(mx::divide(x, number(1.41421356f, x))));
    return mx::divide(mx::multiply(x, twice), number(2, x));
}

static mx::array gelu_tanh(const mx::array &x)
{
    mx::array inner = mx::add(x, mx::multiply(number(0.044715f, x), mx::power(x, number(3, x))));
    mx::array twice = mx::add(number(1, x), mx::tanh(mx::multiply(number(0.79788456f, x), inner)));
    return mx::multiply(mx::multiply(number(0.5f, x), x), twice);
}

static mx::array relu2(const mx::array &x)
{
    return mx::square(mx::maximum(x, number(0, x)));
}

// A kernel holds the product with b only where mlx-lm's does: what is compiled together is rounded in its own way.
template <mx::array (*activation)(const mx::array &), bool with_product>
static mx::array activate(const mx::array &a, const mx_array *b)
{
    static const function f = [](const std::vector<mx::array> &in) -> std::vector<mx::array> {
        return {in.size() == 2 ? mx::multiply(activation(in[0]), in[1]) : activation(in[0])};
    };
    static const auto compiled = mx::compile(f, true);
    if (!b) return fused(f, compiled, {a});
    return with_product ? fused(f, compiled, {a, at(b)}) : mx::multiply(fused(f, compiled, {a}), at(b));
}

mx_array *mx_activate(mx_scope *s, mx_activation kind, const mx_array *a, const mx_array *b)
{
    // In the order of mx_activation.
    static mx::array (*const kinds[])(const mx::array &, const mx_array *) = {
        activate<silu, true>, activate<gelu, false>, activate<gelu_tanh, false>, activate<relu2, false>};
    return node(s, [&] { return kinds[kind](at(a), b); });
}

// ---- Layers

mx_array *mx_linear(mx_scope *s, const mx_array *x, const mx_array *weight, const mx_array *bias)
{
    return node(s, [&] {
        mx::array transposed = mx::transpose(at(weight));
        return bias ? mx::addmm(at(bias), at(x), transposed) : mx::matmul(at(x), transposed);
    });
}

mx_array *mx_quantized_linear(mx_scope *s, const mx_array *x, const mx_array *weight, const mx_array *scales,
                              const mx_array *biases, int group_size, int bits)
{
    return node(s, [&] { return mx::quantized_matmul(at(x), at(weight), at(scales), at(biases), true, group_size, bits); });
}

mx_array *mx_dequantize(mx_scope *s, const mx_array *weight, const mx_array *scales, const mx_array *biases, int group_size,
                        int bits)
{
    return node(s, [&] { return mx::dequantize(at(weight), at(scales), at(biases), group_size, bits); });
}

mx_array *mx_rms_norm(mx_scope *s, const mx_array *x, const mx_array *weight, float eps)
{
    return node(s, [&] { return mx::fast::rms_norm(at(x), maybe(weight), eps); });
}

mx_array *mx_layer_norm(mx_scope *s, const mx_array *x, const mx_array *weight, const mx_array *bias, float eps)
{
    return node(s, [&] { return mx::fast::layer_norm(at(x), maybe(weight), maybe(bias), eps); });
}

mx_array *mx_rope(mx_scope *s, const mx_array *x, int dims, bool traditional, int position, float base, float position_scale,
                  const mx_array *freqs)
{
    return node(s, [&] {
        return base > 0 ? mx::fast::rope(at(x), dims, traditional, base, position_scale, position)
                        : mx::fast::rope(at(x), dims, traditional, std::nullopt, 1.0f, position, at(freqs));
    });
}

mx_array *mx_attention(mx_scope *s, const mx_array *q, const mx_array *k, const mx_array *v, float scale, bool causal,
                       const mx_array *mask)
{
    return node(s, [&] {
        return mx::fast::scaled_dot_product_attention(at(q), at(k), at(v), scale, mask ? "array" : causal ? "causal" : "",
                                                      maybe(mask));
    });
}
