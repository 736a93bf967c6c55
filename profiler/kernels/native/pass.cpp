#include "pass.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace ampscope {
namespace {

constexpr double MOST_BYTES = 64e9;  // of all buffers: beyond that a number is mistaken
constexpr int MOST_LANES = 16;

std::ptrdiff_t vectors_before(std::ptrdiff_t column) { return column / ALIGN * ALIGN; }

}  // namespace

// One call at a time: the buffers are the object's.
class Pass::Turn {
 public:
  explicit Turn(Pass& pass) : pass_(pass) {
    if (pass.taken_.test_and_set(std::memory_order_acquire))
      throw std::invalid_argument("a pass serves one call at a time, and another thread is in one");
  }
  ~Turn() { pass_.taken_.clear(std::memory_order_release); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Pass& pass_;
};

Pass::Pass(const Network& network, std::ptrdiff_t outputs, int segments, int threads,
           const Path& path)
    : network_(network), outputs_(outputs), segments_(segments), threads_(threads), path_(path) {
  const auto expect = [](const char* name, std::ptrdiff_t value, std::ptrdiff_t most) {
    if (value < 1 || value > most)
      throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) +
                                  ", expected 1 to " + std::to_string(most));
  };
  expect("outputs", outputs, std::ptrdiff_t{1} << 24);
  expect("segments", segments, 1 << 16);
  expect("threads", threads, 1024);
  if (network.condition_size() != 1 || network.outputs() != 1)
    throw std::invalid_argument("a network with one condition and one output can be trained, got " +
                                std::to_string(network.condition_size()) + " and " +
                                std::to_string(network.outputs()));
  inputs_ = outputs + network.receptive_field() - 1;
  threads_ = std::min(threads, segments);
  plan();
  const double floats =
      static_cast<double>(segment_layout_.size()) * segments_ +
      static_cast<double>(workspace_layout_.size()) * threads_ +
      static_cast<double>(network_.weight_count()) * segments_;
  if (floats * sizeof(float) > MOST_BYTES)
    throw std::invalid_argument("buffers of more than 64 GB: fewer or shorter segments are needed");
  for (int number = 0; number < segments_; number++) {
    segment_memory_.emplace_back(segment_layout_.size());
    const Rows driven = net_.driven.in(segment_memory_.back().data());
    std::fill_n(driven.row(1), net_.columns, 1.0f);
  }
  for (int number = 0; number < threads_; number++)
    workspace_memory_.emplace_back(workspace_layout_.size());
  gradients_.resize(static_cast<std::size_t>(segments_ * network_.weight_count()));
}

void Pass::plan() {
  net_.columns = whole_vectors(inputs_);
  net_.driven = segment_layout_.rows(2, ALIGN, net_.columns);
  std::ptrdiff_t furthest = 0, partial = 0;
  int most_outputs = 0, most_channels = 0, most_head_taps = 0;
  for (const LayerArray& array : network_.arrays()) {
    most_channels = std::max(most_channels, array.channels);
    most_outputs = std::max(most_outputs, array.outputs());
    most_head_taps = std::max(most_head_taps, array.head_taps);
    const std::ptrdiff_t channels = array.channels, outputs = array.outputs();
    partial = std::max({partial, channels * array.input_size,
                        array.head_size * (array.head_taps * channels + 1)});
    for (int depth = 0; depth < array.layers(); depth++) {
      furthest = std::max(furthest, array.history(depth));
      partial = std::max(partial, array.kernel_sizes[depth] * outputs * channels + 2 * outputs +
                                      channels * channels + channels);
    }
  }
  net_.pre_gradient = workspace_layout_.rows(most_outputs, ALIGN, net_.columns + furthest + ALIGN);
  net_.gated = workspace_layout_.rows(most_channels, 0, BLOCK);
  net_.partial = workspace_layout_.rows(1, 0, partial * MOST_LANES).start;

  gradient_columns_ = net_.columns + most_head_taps + ALIGN;
  const Place output_gradient = gradient_rows(network_.outputs());
  gradient_stride_ = output_gradient.stride;

  const int count = static_cast<int>(network_.arrays().size());
  for (int number = 0; number < count; number++) plan_array(number);
  for (int number = 0; number < count; number++) {
    PassArray& array = arrays_[number];
    array.layers = layers_[number].data();
    array.source = number ? arrays_[number - 1].leaving : net_.driven;
    // What leaves a head is where the next array's total begins.
    if (number + 1 < count) {
      array.head_out = arrays_[number + 1].total;
      array.head_gradient = arrays_[number + 1].total_gradient;
    } else {
      array.head_out = segment_layout_.rows(array.head_size, ALIGN, net_.columns);
      array.head_gradient = output_gradient;
    }
  }
  // From the end: each layer begins where the one that reads it reaches back to.
  std::ptrdiff_t needed = inputs_;
  for (int number = count - 1; number >= 0; number--) {
    PassArray& array = arrays_[number];
    const std::ptrdiff_t head_begin = inputs_ - outputs_ - network_.head_history(number);
    array.head_begin = vectors_before(head_begin);
    array.out_begin = vectors_before(head_begin + array.head_taps - 1);
    needed = std::min(needed, head_begin);
    for (int depth = array.layer_count - 1; depth >= 0; depth--) {
      PassLayer& layer = layers_[number][depth];
      layer.begin = vectors_before(needed);
      needed -= network_.arrays()[number].history(depth);
      layer.source_begin = vectors_before(needed);
    }
    array.begin = vectors_before(needed);
  }
  net_.arrays = arrays_.data();
  net_.array_count = count;
}

// With zeros to the right, as far as a head of several taps reaches.
Place Pass::gradient_rows(int count) {
  return workspace_layout_.rows(count, ALIGN, gradient_columns_);
}

void Pass::plan_array(int number) {
  const LayerArray& shape = network_.arrays()[number];
  const ArrayWeights& at = network_.weights(number);
  const bool last_array = number + 1 == static_cast<int>(network_.arrays().size());
  const int channels = shape.channels, outputs = shape.outputs(), inputs = shape.input_size;
  const std::ptrdiff_t stride = net_.driven.stride;  // of every row that is kept for the way back
  const auto rows_of = [](std::ptrdiff_t apart) { return [=](int term) { return term * apart; }; };
  const auto kept = [&](int rows) { return segment_layout_.rows(rows, ALIGN, net_.columns); };

  PassArray array{};
  array.inputs = inputs;
  array.channels = channels;
  array.head_size = shape.head_size;
  array.head_taps = shape.head_taps;
  array.layer_count = shape.layers();
  array.rechannel_at = at.rechannel;
  array.head_at = at.head;
  array.head_bias_at = at.head_bias;
  array.gradient = gradient_rows(channels);
  array.total_gradient = gradient_rows(channels);
  array.total = kept(channels);
  if (!last_array) array.leaving = kept(channels);

  array.rechannel = packing_.product(
      channels, inputs, [&](int row, int term) { return at.rechannel + row * inputs + term; },
      rows_of(stride));
  array.rechannel_back = packing_.product(
      inputs, channels, [&](int row, int term) { return at.rechannel + term * inputs + row; },
      rows_of(gradient_stride_));
  const auto head_weight = [&](int out, int channel, int tap) {
    return at.head + (static_cast<std::ptrdiff_t>(out) * channels + channel) * shape.head_taps + tap;
  };
  array.head = packing_.product(
      shape.head_size, shape.head_taps * channels,
      [&](int row, int term) { return head_weight(row, term % channels, term / channels); },
      [&](int term) {
        return (term % channels) * stride - (shape.head_taps - 1 - term / channels);
      });
  array.head_back = packing_.product(
      channels, shape.head_taps * shape.head_size,
      [&](int row, int term) {
        return head_weight(term % shape.head_size, row, term / shape.head_size);
      },
      [&](int term) {
        return (term % shape.head_size) * gradient_stride_ +
               (shape.head_taps - 1 - term / shape.head_size);
      });
  array.head_bias = shape.head_bias ? packing_.vector(at.head_bias, shape.head_size) : nullptr;

  std::vector<PassLayer> layers;
  for (int depth = 0; depth < shape.layers(); depth++) {
    const LayerWeights& own = at.layers[depth];
    const int taps = shape.kernel_sizes[depth];
    PassLayer layer{};
    layer.channels = channels;
    layer.outputs = outputs;
    layer.taps = taps;
    layer.dilation = shape.dilations[depth];
    layer.activation =
        shape.activation == "Tanh" ? Activation::tanh : Activation::leaky_relu;
    layer.slope = shape.activation == "ReLU" ? 0.0f : shape.slope;
    layer.gated = shape.gated;
    layer.unread = last_array && depth + 1 == shape.layers();
    layer.conv_at = own.conv;
    layer.conv_bias_at = own.conv_bias;
    layer.mixin_at = own.mixin;
    layer.residual_at = own.residual;
    layer.residual_bias_at = own.residual_bias;
    layer.source = kept(channels);
    layer.activations = kept(outputs);
    const auto conv_weight = [&](int out, int channel, int tap) {
      return own.conv + (static_cast<std::ptrdiff_t>(out) * channels + channel) * taps + tap;
    };
    const auto lag = [&](int tap) {
      return static_cast<std::ptrdiff_t>(taps - 1 - tap) * layer.dilation;
    };
    layer.conv = packing_.product(
        outputs, taps * channels,
        [&](int row, int term) { return conv_weight(row, term % channels, term / channels); },
        [&](int term) { return (term % channels) * stride - lag(term / channels); });
    layer.conv_back = packing_.product(
        channels, taps * outputs,
        [&](int row, int term) { return conv_weight(term % outputs, row, term / outputs); },
        [&](int term) {
          return (term % outputs) * net_.pre_gradient.stride + lag(term / outputs);
        });
    layer.conv_bias = packing_.vector(own.conv_bias, outputs);
    layer.mixin = packing_.product(
        outputs, 1, [&](int row, int) { return own.mixin + row; }, rows_of(0));
    layer.residual = packing_.product(
        channels, channels,
        [&](int row, int term) { return own.residual + row * channels + term; },
        rows_of(shape.gated ? net_.gated.stride : stride));
    layer.residual_back = packing_.product(
        channels, channels,
        [&](int row, int term) { return own.residual + term * channels + row; },
        rows_of(gradient_stride_));
    layer.residual_bias = packing_.vector(own.residual_bias, channels);
    layers.push_back(layer);
  }
  layers_.push_back(std::move(layers));
  arrays_.push_back(array);
}

// Calls work(segment, thread) for every segment; each thread takes the next one that is left.
template <class Work>
void Pass::share(const Work& work) {
  std::atomic<int> next{0};
  const auto take = [&](int thread) {
    const FlushDenormals flushing;
    for (int segment = next++; segment < segments_; segment = next++) work(segment, thread);
  };
  std::vector<std::thread> others;
  try {
    for (int thread = 1; thread < threads_; thread++) others.emplace_back(take, thread);
  } catch (const std::system_error&) {
    // The system gives no more threads: those that there are do the work.
  }
  take(0);
  for (std::thread& other : others) other.join();
}

void Pass::forward(const float* weights, std::ptrdiff_t weight_count, const float* x, float* y) {
  const Turn turn(*this);
  forward_done_ = false;
  network_.check(weights, weight_count);
  check_finite(x, segments_ * inputs_, "input");
  packing_.pack(weights);
  head_scale_ = weights[weight_count - 1];
  share([&](int segment, int thread) {
    float* memory = segment_memory_[segment].data();
    std::copy_n(x + segment * inputs_, inputs_, net_.driven.in(memory).data);
    path_.forward(net_, memory, workspace_memory_[thread].data());
    const float* head = arrays_.back().head_out.in(memory).data + (inputs_ - outputs_);
    for (std::ptrdiff_t t = 0; t < outputs_; t++) y[segment * outputs_ + t] = head_scale_ * head[t];
  });
  forward_done_ = true;
}

void Pass::backward(const float* dy, float* gradient) {
  const Turn turn(*this);
  if (!forward_done_) throw std::invalid_argument("backward needs a forward pass before it");
  check_finite(dy, segments_ * outputs_, "output gradient");
  const std::ptrdiff_t count = network_.weight_count();
  share([&](int segment, int thread) {
    float* memory = segment_memory_[segment].data();
    float* workspace = workspace_memory_[thread].data();
    const float* own = dy + segment * outputs_;
    const float* head = arrays_.back().head_out.in(memory).data + (inputs_ - outputs_);
    float* dhead = arrays_.back().head_gradient.in(workspace).data + (inputs_ - outputs_);
    double of_scale = 0.0;
    for (std::ptrdiff_t t = 0; t < outputs_; t++) {
      dhead[t] = head_scale_ * own[t];
      of_scale += static_cast<double>(own[t]) * head[t];
    }
    float* result = gradients_.data() + segment * count;
    path_.backward(net_, memory, workspace, result);
    result[count - 1] = static_cast<float>(of_scale);
  });
  std::copy_n(gradients_.data(), count, gradient);
  for (int segment = 1; segment < segments_; segment++)
    for (std::ptrdiff_t index = 0; index < count; index++)
      gradient[index] += gradients_[segment * count + index];
}

}  // namespace ampscope
