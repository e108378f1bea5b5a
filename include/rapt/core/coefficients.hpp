// Polynomials and constants of rapt's own elementary functions. Written by minimax.py, which holds each derivation; not by hand.
#pragma once
#include <cstdint>

// clang-format off
namespace rapt { inline namespace v0 { namespace math { namespace coefficients {

// log2 e as a sum of two doubles
inline constexpr double log2_e = 0x1.71547652b82fep+0;
inline constexpr double log2_e_low = 0x1.777d0ffda0d24p-56;

// ln 2 as a sum of two doubles
inline constexpr double ln_2 = 0x1.62e42fefa39efp-1;
inline constexpr double ln_2_low = 0x1.abc9e3b39803fp-56;

// ln 2 with 32 significant bits, so that its product with a binary exponent is exact, and the rest
inline constexpr double ln_2_coarse = 0x1.62e42ffp-1;
inline constexpr double ln_2_rest = -0x1.718432a1b0e26p-35;

// ln 2 and log2 e for float reductions
inline constexpr float ln_2_float = 0x1.62e43p-1f;
inline constexpr float ln_2_float_low = -0x1.05c61p-29f;
inline constexpr float log2_e_float = 0x1.715476p+0f;

// pi / 2 as a sum of three doubles
inline constexpr double pi_over_2 = 0x1.921fb54442d18p+0;
inline constexpr double pi_over_2_low = 0x1.1a62633145c07p-54;
inline constexpr double pi_over_2_lowest = -0x1.f1976b7ed8fbcp-110;

inline constexpr double two_over_pi = 0x1.45f306dc9c883p-1;

// 2^r = 1 + r q(r), |r| <= 1/2; relative error; err 2^-28.32
inline constexpr float exp2_float[6] = {
    0x1.62e43p-1f,
    0x1.ebfbdcp-3f,
    0x1.c6af7cp-5f,
    0x1.3b2dep-7f,
    0x1.5f082ep-10f,
    0x1.416b5ep-13f,
};

// 2^r = 1 + r q(r), |r| <= 1/2; relative error; err 2^-57.77
inline constexpr double exp2_double[11] = {
    0x1.62e42fefa39efp-1,
    0x1.ebfbdff82c59cp-3,
    0x1.c6b08d704a0d4p-5,
    0x1.3b2ab6fba11f5p-7,
    0x1.5d87fe78b3b9cp-10,
    0x1.4309130c0127fp-13,
    0x1.ffcbfbf8c76aap-17,
    0x1.62bfcdde687ep-20,
    0x1.b5260d9f874ccp-24,
    0x1.e611a0545a218p-28,
    0x1.e80ee7768e655p-32,
};

// e^r - 1 = r + r^2 q(r), |r| <= ln 2 / 2; relative error; err 2^-31.1
inline constexpr float expm1_float[6] = {
    0x1p-1f,
    0x1.555554p-3f,
    0x1.5554f8p-5f,
    0x1.1112dep-7f,
    0x1.6d3a24p-10f,
    0x1.9e66b8p-13f,
};

// e^r - 1 = r + r^2 q(r), |r| <= ln 2 / 2; relative error; err 2^-61.62
inline constexpr double expm1_double[11] = {
    0x1p-1,
    0x1.5555555555559p-3,
    0x1.5555555555559p-5,
    0x1.111111110f708p-7,
    0x1.6c16c16c16799p-10,
    0x1.a01a01af9c9e8p-13,
    0x1.a01a019e84affp-16,
    0x1.71ddf939fbfdap-19,
    0x1.27e4f8556c804p-22,
    0x1.af5d011ca2acep-26,
    0x1.1f39617c958b6p-29,
};

// log((1 + s) / (1 - s)) = 2 s + s z q(z), z = s^2, |s| <= 3 - 2 sqrt 2; relative error; err 2^-59.49
inline constexpr double log_atanh[7] = {
    0x1.5555555555592p-1,
    0x1.999999997ff19p-2,
    0x1.24924941e155bp-2,
    0x1.c71c5214510c3p-3,
    0x1.74663ced6cfe1p-3,
    0x1.39a1e8c7dcf3ep-3,
    0x1.2f03ba4d005a7p-3,
};

// sin r = r + r z q(z), z = r^2, |r| <= pi / 4; relative error; err 2^-58.0
inline constexpr double sin_reduced[6] = {
    -0x1.5555555555549p-3,
    0x1.111111110f89cp-7,
    -0x1.a01a019c141bap-13,
    0x1.71de3578ee80cp-19,
    -0x1.ae5e66a5a7f11p-26,
    0x1.5d9301b5070afp-33,
};

// cos r = 1 - z / 2 + z^2 q(z), z = r^2, |r| <= pi / 4; absolute error; err 2^-64.17
inline constexpr double cos_reduced[6] = {
    0x1.555555555554cp-5,
    -0x1.6c16c16c15217p-10,
    0x1.a01a019cbe0a2p-16,
    -0x1.27e4f8116c4a9p-22,
    0x1.1ee9f044e1151p-29,
    -0x1.8fb0916cefaf2p-37,
};

// 2 / pi in binary: word 0 is the integer part (0), the others 64 bits each after the point
inline constexpr std::uint64_t two_over_pi_bits[22] = {
    0x0000000000000000,
    0xa2f9836e4e441529,
    0xfc2757d1f534ddc0,
    0xdb6295993c439041,
    0xfe5163abdebbc561,
    0xb7246e3a424dd2e0,
    0x06492eea09d1921c,
    0xfe1deb1cb129a73e,
    0xe88235f52ebb4484,
    0xe99c7026b45f7e41,
    0x3991d639835339f4,
    0x9c845f8bbdf9283b,
    0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f,
    0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea,
    0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab,
    0xf0cfbc209af4361d,
    0xa9e391615ee61b08,
};

}}}}  // namespace rapt::v0::math::coefficients
// clang-format on
