// Forward and backward over segments: what training needs of a network.
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "memory.h"
#include "network.h"
#include "packing.h"
#include "paths.h"
#include "plan.h"

namespace ampscope {

// Segments of one length, in buffers that stay. Threads share the segments; each gradient is kept
// apart and added in the segments' order, so the result does not depend on their number.
class Pass {
 public:
  // Throws std::invalid_argument.
  Pass(const Network& network, std::ptrdiff_t outputs, int segments, int threads, const Path& path);

  std::ptrdiff_t inputs() const { return inputs_; }
  std::ptrdiff_t outputs() const { return outputs_; }
  int segments() const { return segments_; }
  std::ptrdiff_t weight_count() const { return network_.weight_count(); }

  // x (segments, inputs) -> y (segments, outputs)
  void forward(const float* weights, std::ptrdiff_t weight_count, const float* x, float* y);
  // dy (segments, outputs) -> gradient (weight_count), of the forward pass before it.
  void backward(const float* dy, float* gradient);

 private:
  class Turn;
  void plan();
  void plan_array(int number);
  Place gradient_rows(int count);
  template <class Work>
  void share(const Work& work);

  Network network_;
  std::ptrdiff_t outputs_, inputs_;
  int segments_, threads_;
  const Path& path_;
  Packing packing_;
  std::vector<std::vector<PassLayer>> layers_;
  std::vector<PassArray> arrays_;
  PassNet net_{};
  std::ptrdiff_t gradient_columns_ = 0, gradient_stride_ = 0;
  Layout segment_layout_, workspace_layout_;
  std::vector<Floats> segment_memory_, workspace_memory_;
  std::vector<float> gradients_;  // (segments, weight_count)
  float head_scale_ = 0.0f;
  bool forward_done_ = false;
  std::atomic_flag taken_ = ATOMIC_FLAG_INIT;
};

}  // namespace ampscope
