#include "packing.h"

#include <algorithm>

namespace ampscope {

Packing::Packed& Packing::packed(std::size_t count) {
  Packed& made = packed_.emplace_back();
  made.sources.reserve(count);
  made.values.resize(count);
  return made;
}

Product Packing::product(int rows, int terms, const Weight& weight, const Offset& offset) {
  std::vector<std::ptrdiff_t>& offsets = offsets_.emplace_back();
  for (int term = 0; term < terms; term++) offsets.push_back(offset(term));
  Packed& own = packed(static_cast<std::size_t>(rows) * static_cast<std::size_t>(terms));
  for (int tile = 0; tile < rows; tile += ROW_TILE)
    for (int term = 0; term < terms; term++)
      for (int row = tile; row < std::min(tile + ROW_TILE, rows); row++)
        own.sources.push_back(weight(row, term));
  return {own.values.data(), offsets.data(), rows, terms};
}

const float* Packing::vector(std::ptrdiff_t at, int count) {
  Packed& own = packed(static_cast<std::size_t>(count));
  for (int index = 0; index < count; index++) own.sources.push_back(at + index);
  return own.values.data();
}

const float* Packing::zeros(int count) { return packed(static_cast<std::size_t>(count)).values.data(); }

void Packing::pack(const float* weights) {
  for (Packed& own : packed_)
    for (std::size_t index = 0; index < own.sources.size(); index++)
      own.values[index] = weights[own.sources[index]];
}

}  // namespace ampscope
