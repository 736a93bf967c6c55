// A long impulse response, convolved without delay.
#pragma once

#include <cstddef>

#include "memory.h"

namespace ampscope {

// The first PART taps are summed as they stand, so that the first sample is heard at once. The
// others come in parts of as many taps, each as a spectrum (overlap-save): what they make of the
// input of a part that is complete is first heard in the next one, and so is never late. (Gardner,
// Efficient convolution without input-output delay, 1995, with parts of one size.)
//
// A part's work is K products of 65 complex numbers, for K parts of impulse response, and falls
// due every PART samples whatever the blocks are: a quarter of a second takes some ten
// microseconds of a millisecond.
class Convolver {
 public:
  static constexpr int PART = 64;

  // Throws std::invalid_argument for no sample, too many, or one that is not finite.
  Convolver(const float* impulse, std::ptrdiff_t count);

  void forget() noexcept;

  // `in` may be `out`. Neither allocates nor locks.
  void process(const float* in, float* out, std::ptrdiff_t count) noexcept;

 private:
  static constexpr int BINS = 80;  // PART + 1 of a real signal's spectrum, up to a whole line

  void finish_part() noexcept;

  std::ptrdiff_t parts_;  // of the impulse response, after the first
  Floats taps_;           // the first part
  Floats past_;           // PART samples before the present part, and the present part
  Floats tail_;           // what earlier parts add to the present one
  Floats impulse_;        // parts_ x (real, imaginary) x BINS
  Floats heard_;          // the same of the input, a ring
  Floats sum_;            // real, imaginary
  std::ptrdiff_t newest_ = 0;  // in the ring
  int filled_ = 0;             // samples of the present part
};

}  // namespace ampscope
