// The elementary functions that the vector kernels are made of, over arrays: reachable by themselves for
// tests.
#ifndef ENGINE_CPU_VECTOR_MATH_H
#define ENGINE_CPU_VECTOR_MATH_H

typedef enum vector_function { VECTOR_EXP, VECTOR_TANH, VECTOR_ERF, VECTOR_EXP2 } vector_function;

// y[i] = function(x[i]); y may be x
#if defined(__x86_64__)
void vector_apply_avx2(vector_function function, const float *x, int n, float *y);
void vector_apply_avx512(vector_function function, const float *x, int n, float *y);
#elif defined(__aarch64__)
void vector_apply_neon(vector_function function, const float *x, int n, float *y);
#endif

#endif
