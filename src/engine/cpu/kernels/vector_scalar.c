// Norms, rotary positions, activations and soft caps in plain C over libm: the oracle of the vector variants.
// Sums run in double, so that the variants are measured against something better than themselves.
#include "engine/cpu/kernels/tables.h"
#include <math.h>

void rms_norm_scalar(const float *x, const float *weight, int n, float eps, float *y)
{
    double squares = 0;
    for (int i = 0; i < n; i++) squares += (double)x[i] * x[i];
    float scale = (float)(1.0 / sqrt(squares / n + eps));
    for (int i = 0; i < n; i++) y[i] = x[i] * scale * (weight ? weight[i] : 1.0f);
}

void layer_norm_scalar(const float *x, const float *weight, const float *bias, int n, float eps, float *y)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    double mean = sum / n;
    for (int i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    double scale = 1.0 / sqrt(squares / n + eps);
    for (int i = 0; i < n; i++) y[i] = (float)((x[i] - mean) * scale) * weight[i] + (bias ? bias[i] : 0.0f);
}

void rope_scalar(float *head, const float *cosine, const float *sine, int dims, bool traditional, float scale)
{
    int pairs = dims / 2, step = traditional ? 2 : 1, distance = traditional ? 1 : pairs;
    for (int i = 0; i < pairs; i++) {
        float *first = head + i * step, *second = first + distance;
        float a = *first, b = *second;
        *first = (a * cosine[i] - b * sine[i]) * scale;
        *second = (a * sine[i] + b * cosine[i]) * scale;
    }
}

static float activation(activation_kind kind, float x)
{
    switch (kind) {
    case ACTIVATION_SILU: return x / (1.0f + expf(-x));
    case ACTIVATION_GELU: return 0.5f * x * (1.0f + erff(x * 0x1.6a09e6p-1f)); // x / sqrt(2)
    case ACTIVATION_GELU_TANH: // sqrt(2 / pi) (x + 0.044715 x^3)
        return 0.5f * x * (1.0f + tanhf(0x1.988454p-1f * x * (1.0f + 0.044715f * x * x)));
    case ACTIVATION_RELU2: return x > 0 ? x * x : 0.0f;
    }
    return x;
}

void activate_scalar(activation_kind kind, const float *gate, const float *up, int n, float *y)
{
    for (int i = 0; i < n; i++) y[i] = activation(kind, gate[i]) * (up ? up[i] : 1.0f);
}

void add_scaled_scalar(float *y, const float *x, float scale, int n)
{
    for (int i = 0; i < n; i++) y[i] += scale * x[i];
}

void softcap_scalar(float *x, int n, float scale, float cap)
{
    for (int i = 0; i < n; i++) x[i] = cap != 0 ? cap * tanhf(x[i] * scale / cap) : x[i] * scale;
}
