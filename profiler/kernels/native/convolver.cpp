#include "convolver.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "network.h"

namespace ampscope {
namespace {

constexpr int SIZE = 2 * Convolver::PART;
constexpr std::ptrdiff_t MOST_TAPS = 1 << 20;  // 22 s at 48 kHz

struct Twiddles {
  std::array<float, SIZE / 2> cosine, sine;
  std::array<int, SIZE> reversed;

  Twiddles() {
    for (int k = 0; k < SIZE / 2; k++) {
      const double angle = -2.0 * 3.14159265358979323846 * k / SIZE;
      cosine[k] = static_cast<float>(std::cos(angle));
      sine[k] = static_cast<float>(std::sin(angle));
    }
    for (int k = 0, r = 0; k < SIZE; k++) {
      reversed[k] = r;
      for (int bit = SIZE / 2; (r ^= bit) < bit; bit /= 2) {
      }
    }
  }
};

const Twiddles TWIDDLES;

// In place, radix 2, decimation in time.
void transform(float* re, float* im) noexcept {
  for (int k = 0; k < SIZE; k++) {
    const int r = TWIDDLES.reversed[k];
    if (r <= k) continue;
    std::swap(re[k], re[r]);
    std::swap(im[k], im[r]);
  }
  for (int half = 1; half < SIZE; half *= 2) {
    const int step = SIZE / 2 / half;
    for (int start = 0; start < SIZE; start += 2 * half)
      for (int k = 0; k < half; k++) {
        const float c = TWIDDLES.cosine[k * step], s = TWIDDLES.sine[k * step];
        const int low = start + k, high = low + half;
        const float x = c * re[high] - s * im[high], y = c * im[high] + s * re[high];
        re[high] = re[low] - x;
        im[high] = im[low] - y;
        re[low] += x;
        im[low] += y;
      }
  }
}

// Bins 0 to PART of SIZE real samples.
void spectrum_of(const float* samples, float* re_out, float* im_out) noexcept {
  float re[SIZE], im[SIZE] = {};
  std::copy_n(samples, SIZE, re);
  transform(re, im);
  std::copy_n(re, Convolver::PART + 1, re_out);
  std::copy_n(im, Convolver::PART + 1, im_out);
}

}  // namespace

Convolver::Convolver(const float* impulse, std::ptrdiff_t count) {
  if (count < 1) throw std::invalid_argument("an impulse response of no sample");
  if (count > MOST_TAPS)
    throw std::invalid_argument("an impulse response of " + std::to_string(count) +
                                " samples, at most " + std::to_string(MOST_TAPS) + " are taken");
  check_finite(impulse, count, "impulse response");
  parts_ = (count - 1) / PART;
  taps_ = Floats(PART);
  past_ = Floats(SIZE);
  tail_ = Floats(PART);
  impulse_ = Floats(std::max<std::ptrdiff_t>(1, parts_) * 2 * BINS);
  heard_ = Floats(std::max<std::ptrdiff_t>(1, parts_) * 2 * BINS);
  sum_ = Floats(2 * BINS);
  std::copy_n(impulse, std::min<std::ptrdiff_t>(PART, count), taps_.data());
  for (std::ptrdiff_t part = 0; part < parts_; part++) {
    const std::ptrdiff_t start = (part + 1) * PART;
    float padded[SIZE] = {};  // its second half stays 0: what overlap-save needs
    std::copy_n(impulse + start, std::min<std::ptrdiff_t>(PART, count - start), padded);
    float* spectrum = impulse_.data() + part * 2 * BINS;
    spectrum_of(padded, spectrum, spectrum + BINS);
    for (int bin = 0; bin < 2 * BINS; bin++) spectrum[bin] /= SIZE;  // of the way back
  }
}

void Convolver::forget() noexcept {
  const auto clear = [](Floats& floats, std::ptrdiff_t count) {
    std::memset(floats.data(), 0, static_cast<std::size_t>(count) * sizeof(float));
  };
  clear(past_, SIZE);
  clear(tail_, PART);
  clear(heard_, std::max<std::ptrdiff_t>(1, parts_) * 2 * BINS);
  filled_ = 0;
}

void Convolver::process(const float* in, float* out, std::ptrdiff_t count) noexcept {
  while (count > 0) {
    const int piece = static_cast<int>(std::min<std::ptrdiff_t>(count, PART - filled_));
    float* now = past_.data() + PART + filled_;
    std::copy_n(in, piece, now);
    float sums[PART];
    std::copy_n(tail_.data() + filled_, piece, sums);
    // Sample by sample within a tap: no sum depends on the one before, and all lanes work.
    for (int tap = 0; tap < PART; tap++) {
      const float weight = taps_.data()[tap];
      for (int t = 0; t < piece; t++) sums[t] += weight * now[t - tap];
    }
    std::copy_n(sums, piece, out);
    filled_ += piece;
    in += piece;
    out += piece;
    count -= piece;
    if (filled_ == PART) finish_part();
  }
}

void Convolver::finish_part() noexcept {
  if (parts_ > 0) {
    newest_ = (newest_ + 1) % parts_;
    float* spectrum = heard_.data() + newest_ * 2 * BINS;
    spectrum_of(past_.data(), spectrum, spectrum + BINS);

    float* re = sum_.data();
    float* im = re + BINS;
    std::memset(re, 0, 2 * BINS * sizeof(float));
    for (std::ptrdiff_t part = 0; part < parts_; part++) {
      const std::ptrdiff_t then = (newest_ - part + parts_) % parts_;
      const float* h = impulse_.data() + part * 2 * BINS;
      const float* x = heard_.data() + then * 2 * BINS;
      for (int bin = 0; bin < BINS; bin++) {
        re[bin] += h[bin] * x[bin] - h[BINS + bin] * x[BINS + bin];
        im[bin] += h[bin] * x[BINS + bin] + h[BINS + bin] * x[bin];
      }
    }
    // Back by the same transform of the conjugate; the result is real.
    float whole_re[SIZE], whole_im[SIZE];
    for (int bin = 0; bin <= PART; bin++) {
      whole_re[bin] = re[bin];
      whole_im[bin] = -im[bin];
    }
    for (int bin = 1; bin < PART; bin++) {
      whole_re[SIZE - bin] = re[bin];
      whole_im[SIZE - bin] = im[bin];
    }
    transform(whole_re, whole_im);
    std::copy_n(whole_re + PART, PART, tail_.data());
  }
  std::copy_n(past_.data() + PART, PART, past_.data());
  filled_ = 0;
}

}  // namespace ampscope
