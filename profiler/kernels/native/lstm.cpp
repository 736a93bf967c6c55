#include "lstm.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "network.h"

namespace ampscope {
namespace {

constexpr int MOST_UNITS = 1024, MOST_LAYERS = 64, MOST_OUTPUTS = 1024;
constexpr std::ptrdiff_t LONGEST_PREWARM = std::ptrdiff_t{1} << 24;
constexpr std::ptrdiff_t MOST_WEIGHTS = std::ptrdiff_t{1} << 26;
constexpr int G = 2;  // the gate that is a tanh; the others are sigmoids

void expect_within(const char* name, std::ptrdiff_t value, std::ptrdiff_t most) {
  if (value < 1 || value > most)
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) +
                                ", expected 1 to " + std::to_string(most));
}

}  // namespace

Lstm::Lstm(int hidden, int layers, int outputs, std::ptrdiff_t prewarm)
    : hidden_(hidden), layers_(layers), outputs_(outputs), prewarm_(prewarm) {
  expect_within("hidden_size", hidden, MOST_UNITS);
  expect_within("num_layers", layers, MOST_LAYERS);
  expect_within("outputs", outputs, MOST_OUTPUTS);
  expect_within("prewarm", prewarm, LONGEST_PREWARM);
  if (weight_count() > MOST_WEIGHTS)
    throw std::invalid_argument("an LSTM of more than 2^26 weights");
}

std::ptrdiff_t Lstm::layer_weight_count(int layer) const {
  const std::ptrdiff_t hidden = hidden_;
  return GATES * hidden * (inputs(layer) + hidden) + GATES * hidden + 2 * hidden;
}

std::ptrdiff_t Lstm::weight_count() const {
  std::ptrdiff_t count = static_cast<std::ptrdiff_t>(outputs_) * (hidden_ + 1);
  for (int layer = 0; layer < layers_; layer++) count += layer_weight_count(layer);
  return count;
}

LstmPlayer::LstmPlayer(const Lstm& shape, const float* weights, std::ptrdiff_t weight_count,
                       bool players_tanh, const Path& path)
    : shape_(shape),
      path_(path),
      pitch_((shape.hidden() + path.lanes - 1) / path.lanes * path.lanes) {
  check_weights(weights, weight_count, shape.weight_count());
  const int hidden = shape.hidden(), outputs = shape.outputs();
  for (int layer = 0; layer < shape.layers(); layer++) {
    plan_layer(layer, weights);
    weights += shape.layer_weight_count(layer);
  }
  for (std::size_t layer = 0; layer < layers_.size(); layer++)
    layers_[layer].tiles = tiles_[layer].data();
  float* head = floats(outputs * pitch_);
  for (int row = 0; row < outputs; row++)
    std::copy_n(weights + static_cast<std::ptrdiff_t>(row) * hidden, hidden, head + row * pitch_);
  float* bias = floats(outputs);
  std::copy_n(weights + static_cast<std::ptrdiff_t>(outputs) * hidden, outputs, bias);
  net_ = {layers_.data(), shape.layers(), pitch_, head, bias, outputs, players_tanh};
}

// sigmoid(z) = (tanh(z / 2) + 1) / 2: the rows of the three gates are halved here, once and without
// rounding, so that a step takes the tanh of all four.
void LstmPlayer::plan_layer(int number, const float* weights) {
  const int hidden = shape_.hidden(), inputs = shape_.inputs(number), lanes = path_.lanes;
  const std::ptrdiff_t columns = inputs + hidden;
  // An even number of terms of h, that of the pad is 0: they are summed in pairs.
  const int terms = inputs + (hidden + 1) / 2 * 2;
  const float* bias = weights + GATES * hidden * columns;
  const float* first_h = bias + GATES * hidden;
  const auto scaled = [](int gate, float weight) { return gate == G ? weight : 0.5f * weight; };

  LstmLayer layer{};
  layer.inputs = inputs;
  layer.terms = terms - inputs;
  layer.h = floats((STRIP + 1) * pitch_);
  layer.c = floats(pitch_);
  float* first = floats(2 * pitch_);
  std::copy_n(first_h, hidden, first);
  std::copy_n(first_h + hidden, hidden, first + pitch_);

  // Tiles as equal as can be: of four vectors two and two, not three and one.
  std::vector<LstmTile> tiles;
  const int vectors = static_cast<int>(pitch_) / lanes;
  const int count = (vectors + path_.unit_vectors - 1) / path_.unit_vectors;
  for (int tile = 0, unit = 0; tile < count; tile++) {
    const int wide = vectors / count + (tile < vectors % count), step = GATES * wide * lanes;
    float* packed = floats(static_cast<std::ptrdiff_t>(terms + 1) * step);
    for (int gate = 0; gate < GATES; gate++)
      for (int lane = 0; lane < wide * lanes && unit + lane < hidden; lane++) {
        const int row = gate * hidden + unit + lane;
        float* to = packed + gate * wide * lanes + lane;
        to[0] = scaled(gate, bias[row]);
        for (int term = 0; term < columns; term++)
          to[static_cast<std::ptrdiff_t>(term + 1) * step] =
              scaled(gate, weights[row * columns + term]);
      }
    tiles.push_back({packed, wide, unit});
    unit += wide * lanes;
  }
  layer.tile_count = count;
  tiles_.push_back(std::move(tiles));
  first_.push_back(first);
  layers_.push_back(layer);
}

float* LstmPlayer::floats(std::ptrdiff_t count) { return memory_.emplace_back(count).data(); }

void LstmPlayer::forget() noexcept {
  for (std::size_t layer = 0; layer < layers_.size(); layer++) {
    std::copy_n(first_[layer], pitch_, layers_[layer].h);
    std::copy_n(first_[layer] + pitch_, pitch_, layers_[layer].c);
  }
}

void LstmPlayer::play(const float* in, Rows out, int columns) noexcept {
  path_.recur(net_, in, out, columns);
}

}  // namespace ampscope
