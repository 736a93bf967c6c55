// The vector of one instruction path, and what is done differently on each.
//
// Included by path.cpp alone, which is compiled once a path: AMPSCOPE_LANES says how many floats
// a register holds (16 AVX-512, 8 AVX2, 4 elsewhere: SSE2, NEON). Everything else in the kernels
// is written once, in arithmetic of GCC's and Clang's vector extension. A vector is never wider
// than a register: GCC 12 takes a 64-byte vector on AVX2 through the stack, at a fifth of the
// speed.
#pragma once

#include <cstddef>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own AVX-512 header sets off both (its bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 4")  // a tile of which every element has a name is in registers

namespace ampscope::AMPSCOPE_PATH {
namespace {

constexpr int LANES = AMPSCOPE_LANES;

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef unsigned Bits __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// A product keeps COLUMNS vectors of each of its ROW_TILE (4) rows in registers, a correlation
// SOURCES of each; what they are multiplied with takes as many and one more. That makes 16 + 4 + 1
// of the 32 registers of AVX-512 and NEON, and all of AVX2's 16: 12 + 3 + 1. SSE2 has no fused
// multiply-add and needs one for the product: 8 + 2 + 2 of 16.
#if AMPSCOPE_LANES == 16 || defined(__aarch64__)
constexpr int COLUMNS = 4, SOURCES = 4;
#elif AMPSCOPE_LANES == 8
constexpr int COLUMNS = 3, SOURCES = 3;
#else
constexpr int COLUMNS = 2, SOURCES = 2;
#endif

INLINE Lanes load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
INLINE void store(float* to, Lanes value) { *reinterpret_cast<Unaligned*>(to) = value; }
INLINE Lanes all(float value) { return value - Lanes{}; }  // -0.0 stays -0.0

INLINE Lanes smaller(Lanes a, Lanes b) {
#if AMPSCOPE_LANES == 16
  return _mm512_min_ps(a, b);
#elif AMPSCOPE_LANES == 8
  return _mm256_min_ps(a, b);
#elif defined(__x86_64__)
  return _mm_min_ps(a, b);
#else
  return a < b ? a : b;
#endif
}

INLINE Lanes larger(Lanes a, Lanes b) {
#if AMPSCOPE_LANES == 16
  return _mm512_max_ps(a, b);
#elif AMPSCOPE_LANES == 8
  return _mm256_max_ps(a, b);
#elif defined(__x86_64__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}

INLINE Lanes magnitude(Lanes a) { return larger(a, -a); }

INLINE float sum(Lanes a) {
  float total = 0.0f;
  for (int lane = 0; lane < LANES; lane++) total += a[lane];
  return total;
}

}  // namespace
}  // namespace ampscope::AMPSCOPE_PATH
