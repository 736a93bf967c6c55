#include "network.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace ampscope {
namespace {

// Far beyond any amp, far below any overflow.
constexpr int MOST_CHANNELS = 1024, MOST_TAPS = 4096, MOST_DILATION = 1 << 20, MOST_LAYERS = 1024;
constexpr std::ptrdiff_t LONGEST_FIELD = std::ptrdiff_t{1} << 24;
constexpr std::ptrdiff_t MOST_WEIGHTS = std::ptrdiff_t{1} << 26;

void refuse(int array, const std::string& what) {
  throw std::invalid_argument("array " + std::to_string(array) + ": " + what);
}

void expect_within(int array, const char* name, int value, int most) {
  if (value < 1 || value > most)
    refuse(array, std::string(name) + " is " + std::to_string(value) + ", expected 1 to " +
                      std::to_string(most));
}

void expect_equal(int array, const char* name, int value, int expected) {
  if (value != expected)
    refuse(array, std::string(name) + " is " + std::to_string(value) + ", expected " +
                      std::to_string(expected));
}

void check_array(const LayerArray& array, int number) {
  expect_within(number, "channels", array.channels, MOST_CHANNELS);
  expect_within(number, "input_size", array.input_size, MOST_CHANNELS);
  expect_within(number, "condition_size", array.condition_size, MOST_CHANNELS);
  expect_within(number, "head_size", array.head_size, MOST_CHANNELS);
  expect_within(number, "head_taps", array.head_taps, MOST_TAPS);
  expect_within(number, "number of layers", static_cast<int>(array.dilations.size()), MOST_LAYERS);
  if (array.kernel_sizes.size() != array.dilations.size())
    refuse(number, std::to_string(array.kernel_sizes.size()) + " kernel sizes for " +
                       std::to_string(array.dilations.size()) + " dilations");
  for (int taps : array.kernel_sizes) expect_within(number, "kernel size", taps, MOST_TAPS);
  for (int each : array.dilations) expect_within(number, "dilation", each, MOST_DILATION);
  if (array.activation != "Tanh" && array.activation != "LeakyReLU" && array.activation != "ReLU")
    refuse(number, "activation is '" + array.activation + "', expected Tanh, LeakyReLU or ReLU");
  if (!(array.slope >= 0.0f && array.slope <= 1.0f))
    refuse(number, "slope is " + std::to_string(array.slope) + ", expected 0 to 1");
}

// An array reads what the one before leaves, and starts its total from that one's head.
void check_chain(const std::vector<LayerArray>& arrays) {
  if (arrays.empty()) throw std::invalid_argument("a network needs an array of layers, got none");
  if (arrays.size() > 64)
    throw std::invalid_argument(std::to_string(arrays.size()) + " arrays, expected at most 64");
  for (int number = 0; number < static_cast<int>(arrays.size()); number++) {
    const LayerArray& array = arrays[number];
    check_array(array, number);
    expect_equal(number, "condition_size", array.condition_size, arrays[0].condition_size);
    if (number == 0) {
      expect_equal(number, "input_size", array.input_size, 1);
      continue;
    }
    expect_equal(number, "input_size", array.input_size, arrays[number - 1].channels);
    expect_equal(number, "channels", array.channels, arrays[number - 1].head_size);
  }
}

}  // namespace

std::ptrdiff_t LayerArray::history(int layer) const {
  return static_cast<std::ptrdiff_t>(kernel_sizes[layer] - 1) * dilations[layer];
}

std::ptrdiff_t LayerArray::history() const {
  std::ptrdiff_t total = 0;
  for (int layer = 0; layer < layers(); layer++) total += history(layer);
  return total;
}

Network::Network(std::vector<LayerArray> arrays) : arrays_(std::move(arrays)) {
  check_chain(arrays_);
  std::ptrdiff_t at = 0;
  const auto take = [&at](std::ptrdiff_t count) { return std::exchange(at, at + count); };
  std::ptrdiff_t history = 0;
  for (int number = 0; number < static_cast<int>(arrays_.size()); number++) {
    const LayerArray& array = arrays_[number];
    const std::ptrdiff_t channels = array.channels, outputs = array.outputs();
    ArrayWeights weights;
    weights.rechannel = take(channels * array.input_size);
    for (int layer = 0; layer < array.layers(); layer++) {
      LayerWeights own;
      own.conv = take(outputs * channels * array.kernel_sizes[layer]);
      own.conv_bias = take(outputs);
      own.mixin = take(outputs * array.condition_size);
      own.residual = take(channels * channels);
      own.residual_bias = take(channels);
      weights.layers.push_back(own);
      if (at > MOST_WEIGHTS) refuse(number, "more than 2^26 weights");
    }
    weights.head = take(static_cast<std::ptrdiff_t>(array.head_size) * channels * array.head_taps);
    weights.head_bias = array.head_bias ? take(array.head_size) : -1;
    weights_.push_back(std::move(weights));
    history += array.history();
    if (history > LONGEST_FIELD) refuse(number, "a receptive field of more than 2^24 samples");
    receptive_field_ = std::max(receptive_field_, 1 + history + head_history(number));
  }
  weight_count_ = at + 1;
}

std::ptrdiff_t Network::head_history(int array) const {
  std::ptrdiff_t total = 0;
  for (int number = array; number < static_cast<int>(arrays_.size()); number++)
    total += arrays_[number].head_taps - 1;
  return total;
}

void Network::check(const float* weights, std::ptrdiff_t count) const {
  check_weights(weights, count, weight_count_);
}

void check_weights(const float* weights, std::ptrdiff_t count, std::ptrdiff_t expected) {
  if (count != expected)
    throw std::invalid_argument("got " + std::to_string(count) + " weights, expected " +
                                std::to_string(expected));
  check_finite(weights, count, "weight");
}

// A float is not finite when all bits of its exponent are set. Comparing integers, the compiler
// makes vectors of it; std::isfinite stays scalar.
bool all_finite(const float* values, std::ptrdiff_t count) {
  constexpr std::uint32_t exponent = 0x7f800000;
  std::uint32_t bad = 0;
  for (std::ptrdiff_t index = 0; index < count; index++) {
    std::uint32_t bits;
    std::memcpy(&bits, values + index, sizeof bits);
    bad |= (bits & exponent) == exponent;
  }
  return bad == 0;
}

void check_finite(const float* values, std::ptrdiff_t count, const char* what) {
  if (all_finite(values, count)) return;
  const float* found = std::find_if_not(values, values + count, [](float value) {
    return std::isfinite(value);
  });
  throw std::invalid_argument(std::string(what) + " " + std::to_string(found - values) +
                              " is not finite");
}

}  // namespace ampscope
