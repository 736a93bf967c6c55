// What a WaveNet is: its shape, checked, and where each of its weights stands.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace ampscope {

// One array of layers, in the words of a .nam file.
struct LayerArray {
  int input_size = 1, condition_size = 1;
  int channels = 1;
  std::vector<int> kernel_sizes, dilations;  // one each a layer
  std::string activation = "Tanh";           // or LeakyReLU, ReLU
  float slope = 0.01f;                       // of a LeakyReLU below 0
  bool gated = false;
  int head_size = 1, head_taps = 1;
  bool head_bias = false;

  int layers() const { return static_cast<int>(dilations.size()); }
  int outputs() const { return gated ? 2 * channels : channels; }
  std::ptrdiff_t history(int layer) const;  // columns that a layer reaches back
  std::ptrdiff_t history() const;
};

// Where a flat vector of weights has what, in the order of a .nam file:
// for every array the rechannel, for every layer conv [out][in][tap], its bias, mixin, residual,
// its bias, then the array's head [out][in][tap] and, if it has one, its bias; last the head scale.
struct LayerWeights {
  std::ptrdiff_t conv, conv_bias, mixin, residual, residual_bias;
};

struct ArrayWeights {
  std::ptrdiff_t rechannel, head, head_bias;  // -1: has none
  std::vector<LayerWeights> layers;
};

class Network {
 public:
  // Throws std::invalid_argument for a shape that is none.
  explicit Network(std::vector<LayerArray> arrays);

  const std::vector<LayerArray>& arrays() const { return arrays_; }
  const ArrayWeights& weights(int array) const { return weights_[array]; }
  std::ptrdiff_t weight_count() const { return weight_count_; }
  std::ptrdiff_t receptive_field() const { return receptive_field_; }
  int condition_size() const { return arrays_.front().condition_size; }
  int outputs() const { return arrays_.back().head_size; }

  // Columns of history behind the head of an array and of those above it.
  std::ptrdiff_t head_history(int array) const;

  // Throws std::invalid_argument unless these are `weight_count` finite numbers.
  void check(const float* weights, std::ptrdiff_t count) const;

 private:
  std::vector<LayerArray> arrays_;
  std::vector<ArrayWeights> weights_;
  std::ptrdiff_t weight_count_ = 0, receptive_field_ = 1;
};

// Throws std::invalid_argument unless there are `expected` weights, all of them finite.
void check_weights(const float* weights, std::ptrdiff_t count, std::ptrdiff_t expected);

// Throws std::invalid_argument, naming the first one, unless all are finite.
void check_finite(const float* values, std::ptrdiff_t count, const char* what);
bool all_finite(const float* values, std::ptrdiff_t count);

}  // namespace ampscope
