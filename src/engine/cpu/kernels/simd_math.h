// exp, tanh and erf over the vector operations: within 4 units in the last place of the exact value everywhere, with the
// right limits, and no NaN for a number that is none; and a cheaper 2^x. The coefficients come from
// tools/fit_polynomials.py. A file includes its simd_<isa>.h first.
#ifndef ENGINE_CPU_SIMD_MATH_H
#define ENGINE_CPU_SIMD_MATH_H

// c[0] + c[1] x + ... for a constant count
#define V_POLYNOMIAL(x, ...)                                                                                 \
    v_polynomial((x), (const float[]){__VA_ARGS__},                                                          \
                 (int)(sizeof((const float[]){__VA_ARGS__}) / sizeof(float)))

static inline __attribute__((always_inline)) vfloat v_polynomial(vfloat x, const float *coefficients,
                                                                 int count)
{
    vfloat sum = v_set(coefficients[count - 1]);
    for (int i = count - 2; i >= 0; i--) sum = v_fma(sum, x, v_set(coefficients[i]));
    return sum;
}

#define LOG2_E 0x1.715476p+0f // log2(e)

// 0 from -105 down (-infinity included), infinity from 89 up
static inline vfloat v_exp(vfloat x)
{
    x = v_min(v_set(89), v_max(v_set(-105), x));
    vfloat n = v_round(v_mul(x, v_set(LOG2_E)));
    vfloat r = v_fnma(n, v_set(0x1.62e430p-1f), x);      // ln(2) in two parts, the first product is exact
    r = v_fnma(n, v_set(-0x1.05c610p-29f), r);
    vfloat q = V_POLYNOMIAL(r, 0.499992288f, 0.166671163f, 0.0418905531f, 0.00831247971f);
    vfloat power = v_add(v_set(1), v_fma(v_mul(r, r), q, r));
    return v_scale(power, n);
}

// 2^x for x below 128, within 3e-6 of the value: for weights that become integers of 16 bits. 0 from -150 down (-infinity included)
static inline vfloat v_exp2(vfloat x)
{
    x = v_max(v_set(-150), x);
    vfloat n = v_round(x), f = v_sub(x, n);
    return v_scale(v_fma(f, V_POLYNOMIAL(f, 0.693124104f, 0.240241046f, 0.0559072165f, 0.00958277466f), v_set(1)), n);
}

static inline vfloat v_tanh(vfloat x)
{
    vfloat z = v_mul(x, x), size = v_abs(x);
    vfloat q = V_POLYNOMIAL(z, -0.333332819f, 0.133314422f, -0.0537397122f, 0.0206390787f, -0.00570497837f);
    vfloat small = v_fma(v_mul(x, z), q, x);
    vfloat large = v_sub(v_set(1), v_div(v_set(2), v_add(v_exp(v_add(size, size)), v_set(1))));
    return v_select_less(size, v_set(0.625f), small, v_copysign(large, x));
}

static inline vfloat v_erf(vfloat x)
{
    vfloat z = v_mul(x, x), size = v_abs(x), t = v_min(v_set(4), size); // erf(4) is 1 in float32
    vfloat q = V_POLYNOMIAL(z, 0.128379166f, -0.376126258f, 0.112835851f, -0.0268538119f, 0.00518832756f,
                            -0.000801019252f, 7.8538577e-5f);
    vfloat log_rest = V_POLYNOMIAL(t, -0.000341519057f, -1.1270892f, -0.638144815f, -0.103106765f,
                                   0.0218380663f, -0.00294765815f, 0.000186379107f);
    vfloat large = v_sub(v_set(1), v_exp(log_rest));
    return v_select_less(size, v_set(1), v_fma(x, q, x), v_copysign(large, x));
}

#endif
