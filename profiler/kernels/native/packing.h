// Weights from the order of the file into that of the products.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <vector>

#include "plan.h"

namespace ampscope {

// Owns the packed weights and the offsets of any number of products. Offsets are a matter of the
// shape and made once (those into a ring turn with it); `pack` may be called again with every new
// set of weights.
class Packing {
 public:
  using Weight = std::function<std::ptrdiff_t(int row, int term)>;  // its place in the file's order
  using Offset = std::function<std::ptrdiff_t(int term)>;

  Product product(int rows, int terms, const Weight& weight, const Offset& offset);
  const float* vector(std::ptrdiff_t at, int count);  // as it stands in the file
  const float* zeros(int count);

  // Fill in what every product refers to.
  void pack(const float* weights);

 private:
  struct Packed {
    std::vector<std::ptrdiff_t> sources;  // in the file, in packed order
    std::vector<float> values;
  };
  Packed& packed(std::size_t count);

  std::deque<Packed> packed_;  // a deque: what stands in it never moves
  std::deque<std::vector<std::ptrdiff_t>> offsets_;
};

}  // namespace ampscope
