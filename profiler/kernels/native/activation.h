// The curves between the layers, and the derivatives that the backward pass takes of them.
#pragma once

#include "lanes.h"
#include "plan.h"

namespace ampscope::AMPSCOPE_PATH {
namespace {

// tanh as x P(x^2) / Q(x^2), degrees 3 and 4: the fit of least relative error on |x| <= 7.9,
// beyond which tanh is 1 in float32. Found by bisection over linear programs (the error bound is
// linear in the coefficients); within 5e-7 of tanh, rounding included, near 0 as well.
INLINE Lanes tanh_of(Lanes x) {
  x = larger(smaller(x, all(7.9f)), all(-7.9f));
  const Lanes square = x * x;
  Lanes over = square * 1.1563016e-05f + 0.0029636545f;
  over = over * square + 0.12937531f;
  over = over * square + 1.0f;
  Lanes under = square * 2.5019395e-07f + 0.00024044223f;
  under = under * square + 0.02386752f;
  under = under * square + 0.46270785f;
  under = under * square + 1.0f;
  return x * over / under;
}

// tanh to the last bits: E / (E + 2), where E = exp(2x) - 1 = 2^n (exp(r) - 1) + 2^n - 1 with |r| at
// most ln(2) / 2. The polynomial is the fit of least relative error, 2e-8; the whole is within
// 1.5e-7 of tanh and as exact near 0 as anywhere, but takes half as long again as the one above.
INLINE Lanes fine_tanh_of(Lanes x) {
  const Lanes doubled = 2.0f * larger(smaller(x, all(10.0f)), all(-10.0f));
  // Beyond 1.5 x 2^23 a float has no fraction: what is added is rounded, and stands in its low bits.
  const Lanes rounded = doubled * 1.44269504f + 12582912.0f;
  const Lanes n = rounded - 12582912.0f;
  const Lanes r = (doubled - n * 0.693145752f) - n * 1.42860677e-6f;  // ln 2 in two parts
  const Lanes scale = (Lanes)(((Bits)rounded << 23) + 0x3f800000u);
  const Lanes square = r * r;
  const Lanes high = square * 0.00138826552f + (r * 0.00836651493f + 0.0416671969f);
  const Lanes curve = high * square + (r * 0.166665435f + 0.49999997f);
  const Lanes grown = scale * (curve * square + r) + (scale - 1.0f);
  return grown / (grown + 2.0f);
}

// What players evaluate instead (`fast_tanh` of NeuralAmpModelerCore), up to 4e-3 off. Beyond
// |x| = 1e6 it has long settled on 1.0042, and the cubes would overflow.
INLINE Lanes players_tanh_of(Lanes x) {
  x = larger(smaller(x, all(1e6f)), all(-1e6f));
  const Lanes size = magnitude(x), square = x * x;
  const Lanes over =
      x * (2.45550750702956f + 2.45550750702956f * size +
           (0.893229853513558f + 0.821226666969744f * size) * square);
  const Lanes under =
      2.44506634652299f +
      (2.44506634652299f + square) * magnitude(x + 0.814642734961073f * x * size);
  return over / under;
}

template <Activation CURVE>
INLINE Lanes activated(Lanes z, float slope) {
  if constexpr (CURVE == Activation::tanh) return tanh_of(z);
  if constexpr (CURVE == Activation::players_tanh) return players_tanh_of(z);
  // Slopes are at most 1, so the larger of the two is the right one on both sides of 0.
  return larger(z, slope * z);
}

// sigmoid(x) = (tanh(x/2) + 1) / 2; players take that of a gate exactly, whatever their tanh.
INLINE Lanes gate_of(Lanes z) { return 0.5f * tanh_of(0.5f * z) + 0.5f; }

// d a / d z, from a.
template <Activation CURVE>
INLINE Lanes derivative(Lanes a, float slope) {
  if constexpr (CURVE == Activation::tanh) return 1.0f - a * a;
  return a > 0.0f ? all(1.0f) : all(slope);
}

}  // namespace
}  // namespace ampscope::AMPSCOPE_PATH
