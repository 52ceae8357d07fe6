"""Minimax coefficients for the exp, exp2, tanh and erf of src/engine/cpu/kernels/simd_math.h (needs mpmath).
usage: fit_polynomials.py

Prints, for each polynomial, its coefficients from the constant term up and the largest weighted error, which is the
error relative to the function that the polynomial stands for, before any rounding of the arithmetic."""
from mpmath import cos, erf, erfc, exp, fabs, log, lu_solve, matrix, mp, mpf, pi, tanh

mp.prec = 120


def fit(function, weight, low, high, degree, points=160, rounds=60):
    """Lawson's reweighted least squares on Chebyshev points: tends to the polynomial with the smallest largest error."""
    xs = [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * i + 1) / (2 * points)) for i in range(points)]
    targets, weights = [function(x) for x in xs], [weight(x) for x in xs]
    importance = [mpf(1) / points] * points
    for _ in range(rounds):
        normal, right = matrix(degree + 1, degree + 1), matrix(degree + 1, 1)
        for x, target, w, share in zip(xs, targets, weights, importance):
            scale = share * w * w
            powers = [x**k for k in range(2 * degree + 1)]
            for i in range(degree + 1):
                right[i] += scale * powers[i] * target
                for j in range(degree + 1):
                    normal[i, j] += scale * powers[i + j]
        coefficients = lu_solve(normal, right)
        errors = [fabs(w * (sum(c * x**k for k, c in enumerate(coefficients)) - t))
                  for x, t, w in zip(xs, targets, weights)]
        importance = [share * error for share, error in zip(importance, errors)]
        total = sum(importance)
        importance = [share / total for share in importance]
    return coefficients, max(errors)


def show(name, coefficients, error):
    print(f"{name}: error {mp.nstr(error, 3)}")
    print("   ", ", ".join(f"{mp.nstr(c, 9)}f" for c in coefficients))


half_log_2 = log(2) / 2
tiny = mpf(10)**-9
# exp(r) = 1 + r + r^2 q(r)
show("exp", *fit(lambda r: (exp(r) - 1 - r) / r**2, lambda r: r**2 / exp(r), -half_log_2 * 1.001, half_log_2 * 1.001, 3))
# 2^f = 1 + f q(f)
half = mpf("0.5005")
show("exp2", *fit(lambda f: (mpf(2)**f - 1) / f, lambda f: f / mpf(2)**f, -half, half, 3))
# tanh(x) = x + x z q(z) with z = x^2
show("tanh", *fit(lambda z: (tanh(z**0.5) / z**0.5 - 1) / z, lambda z: z**1.5 / tanh(z**0.5), tiny, mpf("0.625")**2, 4))
# erf(x) = x + x q(z) with z = x^2
show("erf", *fit(lambda z: erf(z**0.5) / z**0.5 - 1, lambda z: z**0.5 / erf(z**0.5), tiny, mpf(1), 6))
# erf(t) = 1 - exp(q(t)) beyond 1
show("log erfc", *fit(lambda t: log(erfc(t)), lambda t: erfc(t) / erf(t), mpf(1), mpf(4), 6))
