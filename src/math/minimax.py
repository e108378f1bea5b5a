#!/usr/bin/env python3
"""Derives include/rapt/core/coefficients.hpp: python3 minimax.py > coefficients.hpp (needs mpmath; about a minute).

Run by hand when a polynomial changes; a changed bit in the header is a changed numerics id.

Each polynomial is the minimax fit (Remez exchange in 60 digits) of a weighted error. Its coefficients are then rounded to the
working precision one after the other, lowest power first, the rest fitted again after each: the later coefficients make good
what the earlier ones lost. `err` in the header is the largest weighted error of the rounded polynomial, as a power of two.
"""
import mpmath as mp

mp.mp.dps = 60


def round_to_bits(x, bits):
    if x == 0:
        return mp.mpf(0)
    exponent = mp.floor(mp.log(abs(x), 2)) + 1
    unit = mp.mpf(2) ** (exponent - bits)
    return mp.nint(x / unit) * unit  # nint rounds half to even


def evaluate(coefficients, x):
    total = mp.mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def grid(low, high, count):
    """Chebyshev points, dense at the ends, where the extrema are."""
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]


def remez(target, weight, num_coefficients, low_power):
    """c with the least max |weight * (target - sum c[k] x^(low_power + k))|; target, weight: lists of (x, value) on one grid."""
    xs = [x for x, _ in target]
    f = [v for _, v in target]
    w = [v for _, v in weight]
    # With lower powers fixed, all that is left vanishes at 0. Divided by x^low_power it is an ordinary polynomial fit again, so the error has
    # to alternate up to the sign of x^low_power; next to 0 nothing can be large, and the equations would be ill-conditioned.
    largest_x = max(abs(x) for x in xs)
    live = [i for i in range(len(xs)) if abs(xs[i]) > largest_x / 1000]
    side = [-1 if x < 0 and low_power % 2 else 1 for x in xs]
    n = num_coefficients + 1
    chosen = [live[round(j * (len(live) - 1) / (n - 1))] for j in range(n)]
    for _ in range(60):
        rows = mp.matrix(n, n)
        right = mp.matrix(n, 1)
        for j, i in enumerate(chosen):
            for k in range(num_coefficients):
                rows[j, k] = xs[i] ** (low_power + k)
            rows[j, num_coefficients] = (-1) ** j * side[i] / w[i]
            right[j] = f[i]
        solution = mp.lu_solve(rows, right)
        c = [solution[k] for k in range(num_coefficients)]
        level = abs(solution[num_coefficients])
        error = {i: side[i] * w[i] * (f[i] - xs[i] ** low_power * evaluate(c, xs[i])) for i in live}
        # One extremum per run of equal sign. If they are too many the smallest goes, with its smaller neighbour so that signs still alternate;
        # of one too many the smaller end.
        runs = []
        for i in live:
            sign = error[i] >= 0
            if runs and runs[-1][0] == sign:
                if abs(error[i]) > abs(error[runs[-1][1]]):
                    runs[-1][1] = i
            else:
                runs.append([sign, i])
        extrema = [i for _, i in runs]
        while len(extrema) > n:
            size = [abs(error[i]) for i in extrema]
            least = min(range(len(size)), key=size.__getitem__)
            if least in (0, len(size) - 1) or len(extrema) == n + 1:
                extrema.pop(0 if size[0] < size[-1] else -1)
            else:
                first = least if size[least + 1] < size[least - 1] else least - 1
                del extrema[first : first + 2]
        largest = max(abs(e) for e in error.values())
        if largest <= level * (1 + mp.mpf(10) ** -8) or len(extrema) < n or extrema == chosen:
            break
        chosen = extrema
    return c


def fit(f, weight, low, high, degree, bits):
    """Rounded coefficients of degree 0..degree for f on [low, high], and log2 of the largest weighted error."""
    xs = grid(mp.mpf(low), mp.mpf(high), 1201)
    weights = [(x, weight(x)) for x in xs]
    residual = [(x, f(x)) for x in xs]
    original = dict(residual)
    rounded = []
    for k in range(degree + 1):
        c = round_to_bits(remez(residual, weights, degree + 1 - k, k)[0], bits)
        rounded.append(c)
        residual = [(x, v - c * x**k) for x, v in residual]
    worst = max(w * abs(original[x] - evaluate(rounded, x)) for x, w in weights)
    return rounded, mp.log(worst, 2)


def literal(x, bits):
    x = round_to_bits(x, bits)
    text = float(x).hex()
    mantissa, exponent = text.split("p")
    return mantissa.rstrip("0").rstrip(".") + "p" + exponent + ("f" if bits == 24 else "")


def parts(x, count):
    """x as a sum of `count` doubles, largest first."""
    found = []
    for _ in range(count):
        found.append(round_to_bits(x, 53))
        x -= found[-1]
    return found


def nonzero(x, tiny):
    return x if abs(x) > tiny else tiny


def divided(f):
    """f without its removable singularity at 0."""
    return lambda x: f(nonzero(x, mp.mpf(10) ** -12))


half = mp.mpf(1) / 2
half_ln2 = mp.ln(2) / 2
s_max = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
z_max = (mp.pi / 4) ** 2 * (1 + mp.mpf(2) ** -10)


def exp2_fit(degree, bits):
    # 2^r = 1 + r * q(r), the constant term exactly 1 so that exp2(0) = 1; relative error of 2^r
    return fit(divided(lambda r: (mp.power(2, r) - 1) / r), lambda r: abs(r) / mp.power(2, r), -half, half, degree - 1, bits)


def expm1_fit(degree, bits):
    # e^r - 1 = r + r^2 * q(r); error relative to e^r - 1, which is what a small tanh sees
    return fit(divided(lambda r: (mp.expm1(r) - r) / r**2), divided(lambda r: r**2 / abs(mp.expm1(r))), -half_ln2, half_ln2, degree - 2, bits)


def log_fit():
    # log((1 + s) / (1 - s)) = 2 s + s z q(z), z = s^2; error relative to the logarithm
    def value(z):
        s = mp.sqrt(z)
        return (2 * mp.atanh(s) / s - 2) / z

    return fit(divided(value), lambda z: z / 2, 0, s_max**2, 6, 53)


def sin_fit():
    # sin r = r + r z q(z), z = r^2; error relative to r
    def value(z):
        r = mp.sqrt(z)
        return (mp.sin(r) / r - 1) / z

    return fit(divided(value), lambda z: z, 0, z_max, 5, 53)


def cos_fit():
    # cos r = 1 - z / 2 + z^2 q(z), z = r^2; absolute error
    return fit(divided(lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2), lambda z: z**2, 0, z_max, 5, 53)


def array(name, comment, kind, result):
    coefficients, error = result
    bits = 24 if kind == "float" else 53
    print(f"// {comment}; err 2^{mp.nstr(error, 4)}")
    print(f"inline constexpr {kind} {name}[{len(coefficients)}] = {{")
    for c in coefficients:
        print(f"    {literal(c, bits)},")
    print("};\n")


def pair(name, comment, value, count=2):
    print(f"// {comment}")
    for suffix, part in zip(["", "_low", "_lowest"], parts(value, count)):
        print(f"inline constexpr double {name}{suffix} = {literal(part, 53)};")
    print()


def main():
    print("// Polynomials and constants of rapt's own elementary functions. Written by minimax.py, which holds each derivation; not by hand.")
    print("#pragma once\n#include <cstdint>\n")
    print("// clang-format off\nnamespace rapt { inline namespace v0 { namespace math { namespace coefficients {\n")
    pair("log2_e", "log2 e as a sum of two doubles", 1 / mp.ln(2))
    pair("ln_2", "ln 2 as a sum of two doubles", mp.ln(2))
    print("// ln 2 with 32 significant bits, so that its product with a binary exponent is exact, and the rest")
    coarse = round_to_bits(mp.ln(2), 32)
    print(f"inline constexpr double ln_2_coarse = {literal(coarse, 53)};")
    print(f"inline constexpr double ln_2_rest = {literal(mp.ln(2) - coarse, 53)};\n")
    print("// ln 2 and log2 e for float reductions")
    ln_2_float = round_to_bits(mp.ln(2), 24)
    print(f"inline constexpr float ln_2_float = {literal(ln_2_float, 24)};")
    print(f"inline constexpr float ln_2_float_low = {literal(mp.ln(2) - ln_2_float, 24)};")
    print(f"inline constexpr float log2_e_float = {literal(1 / mp.ln(2), 24)};\n")
    pair("pi_over_2", "pi / 2 as a sum of three doubles", mp.pi / 2, 3)
    print(f"inline constexpr double two_over_pi = {literal(2 / mp.pi, 53)};\n")
    array("exp2_float", "2^r = 1 + r q(r), |r| <= 1/2; relative error", "float", exp2_fit(6, 24))
    array("exp2_double", "2^r = 1 + r q(r), |r| <= 1/2; relative error", "double", exp2_fit(11, 53))
    array("expm1_float", "e^r - 1 = r + r^2 q(r), |r| <= ln 2 / 2; relative error", "float", expm1_fit(7, 24))
    array("expm1_double", "e^r - 1 = r + r^2 q(r), |r| <= ln 2 / 2; relative error", "double", expm1_fit(12, 53))
    array("log_atanh", "log((1 + s) / (1 - s)) = 2 s + s z q(z), z = s^2, |s| <= 3 - 2 sqrt 2; relative error", "double", log_fit())
    array("sin_reduced", "sin r = r + r z q(z), z = r^2, |r| <= pi / 4; relative error", "double", sin_fit())
    array("cos_reduced", "cos r = 1 - z / 2 + z^2 q(z), z = r^2, |r| <= pi / 4; absolute error", "double", cos_fit())
    # 64 bits before the point are zeros, so that a window may start there; 1024 + 192 bits after it serve every double.
    words = 22
    with mp.workdps(500):
        digits = int(mp.floor(2 / mp.pi * mp.mpf(2) ** (64 * (words - 1))))
    print("// 2 / pi in binary: word 0 is the integer part (0), the others 64 bits each after the point")
    print(f"inline constexpr std::uint64_t two_over_pi_bits[{words}] = {{")
    for i in range(words):
        print(f"    0x{digits >> (64 * (words - 1 - i)) & (2**64 - 1):016x},")
    print("};\n")
    print("}}}}  // namespace rapt::v0::math::coefficients\n// clang-format on")


if __name__ == "__main__":
    main()
