#include "stream.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace ampscope {
namespace {

constexpr double MOST_BYTES = 2e9;  // of one network's state
// Columns: the shorter a ring, the more of its blocks stand in two places; the longer, the more cache.
constexpr std::ptrdiff_t LEAST_RING = 256;

Activation activation_of(const LayerArray& array, bool players_tanh) {
  if (array.activation != "Tanh") return Activation::leaky_relu;
  return players_tanh ? Activation::players_tanh : Activation::tanh;
}

void check_size(const Network& network) {
  double columns = 0.0;
  for (const LayerArray& array : network.arrays()) {
    for (int layer = 0; layer < array.layers(); layer++)
      columns += array.channels * (static_cast<double>(array.history(layer)) + 8.0 * STRIP);
    columns += array.channels * (array.head_taps + 8.0 * STRIP);
  }
  if (columns * sizeof(float) > MOST_BYTES)
    throw std::invalid_argument("a network whose state takes more than 2 GB");
}

}  // namespace

WaveNetPlayer::WaveNetPlayer(const Network& network, const float* weights,
                             std::ptrdiff_t weight_count, bool players_tanh, const Path& path,
                             std::unique_ptr<Player> condition)
    : path_(path),
      condition_(std::move(condition)),
      receptive_field_(network.receptive_field()),
      outputs_(network.outputs()) {
  network.check(weights, weight_count);
  check_size(network);
  const int given = condition_ ? condition_->outputs() : 1;
  if (network.condition_size() != given)
    throw std::invalid_argument("condition_size is " + std::to_string(network.condition_size()) +
                                ", but the condition has " + std::to_string(given) + " signals");
  int most_channels = 0, most_outputs = 0;
  for (const LayerArray& array : network.arrays()) {
    most_channels = std::max(most_channels, array.channels);
    most_outputs = std::max(most_outputs, array.outputs());
  }
  if (condition_) net_.condition = scratch(given);
  net_.activations = scratch(most_outputs);
  net_.gated = scratch(most_channels);
  net_.leaving = scratch(most_channels);
  net_.head = scratch(network.outputs());
  for (int number = 0; number < static_cast<int>(network.arrays().size()); number++)
    plan_array(network, number, players_tanh);
  for (std::size_t number = 0; number < arrays_.size(); number++)
    arrays_[number].layers = layers_[number].data();
  net_.arrays = arrays_.data();
  net_.array_count = static_cast<int>(arrays_.size());
  packing_.pack(weights);
  head_scale_ = weights[weight_count - 1];
}

void WaveNetPlayer::plan_array(const Network& network, int number, bool players_tanh) {
  const LayerArray& shape = network.arrays()[number];
  const ArrayWeights& at = network.weights(number);
  const bool last_array = number + 1 == static_cast<int>(network.arrays().size());
  const int channels = shape.channels, outputs = shape.outputs();

  StreamArray array{};
  array.channels = channels;
  array.head_size = shape.head_size;
  array.head_taps = shape.head_taps;
  array.layer_count = shape.layers();
  // A row after the other, as far apart as their source's.
  const auto rows_of = [](std::ptrdiff_t stride) { return [=](int term) { return term * stride; }; };

  array.rechannel = packing_.product(
      channels, shape.input_size,
      [&](int row, int term) { return at.rechannel + row * shape.input_size + term; },
      rows_of(number ? net_.leaving.stride : 0));

  std::vector<StreamLayer> layers;
  for (int depth = 0; depth < shape.layers(); depth++) {
    const LayerWeights& own = at.layers[depth];
    StreamLayer layer{};
    layer.channels = channels;
    layer.outputs = outputs;
    layer.taps = shape.kernel_sizes[depth];
    layer.dilation = shape.dilations[depth];
    layer.activation = activation_of(shape, players_tanh);
    layer.slope = shape.activation == "ReLU" ? 0.0f : shape.slope;
    layer.gated = shape.gated;
    layer.unread = last_array && depth + 1 == shape.layers();
    layer.source = ring(channels, shape.history(depth));
    const std::ptrdiff_t stride = layer.source.rows.stride;
    layer.conv = packing_.product(
        outputs, layer.taps * channels,
        [&](int row, int term) {
          const int tap = term / channels, channel = term % channels;
          return own.conv + (static_cast<std::ptrdiff_t>(row) * channels + channel) * layer.taps +
                 tap;
        },
        [&](int term) {
          const std::ptrdiff_t lag =
              static_cast<std::ptrdiff_t>(layer.taps - 1 - term / channels) * layer.dilation;
          return (term % channels) * stride - lag;
        });
    layer.conv_bias = packing_.vector(own.conv_bias, outputs);
    layer.mixin = packing_.product(
        outputs, shape.condition_size,
        [&](int row, int term) { return own.mixin + row * shape.condition_size + term; },
        rows_of(net_.condition.stride));
    layer.residual = packing_.product(
        channels, channels,
        [&](int row, int term) { return own.residual + row * channels + term; },
        rows_of(shape.gated ? net_.gated.stride : net_.activations.stride));
    layer.residual_bias = packing_.vector(own.residual_bias, channels);
    layers.push_back(layer);
  }

  if (array.head_taps > 1)
    array.total = ring(channels, array.head_taps - 1);
  else
    array.total = {scratch(channels), channels, 0, 0};
  const std::ptrdiff_t stride = array.total.rows.stride;
  array.head = packing_.product(
      shape.head_size, array.head_taps * channels,
      [&](int row, int term) {
        const int tap = term / channels, channel = term % channels;
        return at.head + (static_cast<std::ptrdiff_t>(row) * channels + channel) * array.head_taps +
               tap;
      },
      [&](int term) {
        return (term % channels) * stride - (array.head_taps - 1 - term / channels);
      });
  array.head_bias = shape.head_bias ? packing_.vector(at.head_bias, shape.head_size) : nullptr;

  layers_.push_back(std::move(layers));
  arrays_.push_back(array);
}

// A window reaches back `history`, and forward a strip that is written in whole vectors: between its
// two ends no column may be the other's.
Ring WaveNetPlayer::ring(int rows, std::ptrdiff_t history) {
  const std::ptrdiff_t capacity = std::max(LEAST_RING, whole_vectors(history + STRIP + ALIGN));
  const std::ptrdiff_t stride = stride_for(capacity + STRIP + ALIGN);
  memory_.emplace_back(rows * stride);
  return {{memory_.back().data(), stride}, rows, static_cast<int>(capacity), 0};
}

Rows WaveNetPlayer::scratch(int rows) {
  const std::ptrdiff_t stride = stride_for(STRIP);
  memory_.emplace_back(rows * stride);
  return {memory_.back().data(), stride};
}

std::ptrdiff_t WaveNetPlayer::memory() const {
  return receptive_field_ + (condition_ ? condition_->memory() : 0);
}

void WaveNetPlayer::forget() noexcept {
  if (condition_) condition_->forget();
  const auto clear = [](Ring& ring) {
    std::memset(ring.rows.data, 0,
                static_cast<std::size_t>(ring.count * ring.rows.stride) * sizeof(float));
    ring.position = 0;
  };
  for (std::size_t number = 0; number < arrays_.size(); number++) {
    for (StreamLayer& layer : layers_[number]) clear(layer.source);
    clear(arrays_[number].total);
  }
}

void WaveNetPlayer::play(const float* in, Rows out, int columns) noexcept {
  net_.raw = {const_cast<float*>(in), 0};  // only read
  if (condition_)
    condition_->play(in, net_.condition, columns);
  else
    net_.condition = net_.raw;
  path_.stream(net_, columns);
  for (int row = 0; row < outputs_; row++)
    for (int t = 0; t < columns; t++) out.row(row)[t] = head_scale_ * net_.head.row(row)[t];
}

Stream::Stream(std::unique_ptr<Player> player)
    : player_(std::move(player)), in_(STRIP), out_(stride_for(STRIP)) {
  if (player_->outputs() != 1)
    throw std::invalid_argument("the network has " + std::to_string(player_->outputs()) +
                                " outputs, expected 1");
  reset();
}

void Stream::reset() noexcept {
  player_->forget();
  const float silence[STRIP] = {};
  float ignored[STRIP];
  for (std::ptrdiff_t left = 1 + player_->memory(); left > 0; left -= STRIP)
    play(silence, ignored, std::min<std::ptrdiff_t>(left, STRIP));
}

Stream::Result Stream::process(const float* in, float* out, std::ptrdiff_t count) noexcept {
  if (playing_.test_and_set(std::memory_order_acquire)) return Result::busy;
  const bool finite = all_finite(in, count);
  if (finite) play(in, out, count);
  playing_.clear(std::memory_order_release);
  return finite ? Result::done : Result::not_finite;
}

void Stream::play(const float* in, float* out, std::ptrdiff_t count) noexcept {
  const FlushDenormals flushing;
  for (std::ptrdiff_t done = 0; done < count; done += STRIP) {
    const int columns = static_cast<int>(std::min<std::ptrdiff_t>(STRIP, count - done));
    std::copy_n(in + done, columns, in_.data());
    std::fill(in_.data() + columns, in_.data() + whole_vectors(columns), 0.0f);
    player_->play(in_.data(), {out_.data(), 0}, columns);
    std::copy_n(out_.data(), columns, out + done);
  }
}

}  // namespace ampscope
