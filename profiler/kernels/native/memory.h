// Zeroed, aligned floats that are laid out once, before anything runs.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

#include "plan.h"

namespace ampscope {

constexpr std::size_t LINE = 64;  // bytes of a cache line, and of the widest vector

class Floats {
 public:
  Floats() = default;
  explicit Floats(std::ptrdiff_t count)
      : data_(static_cast<float*>(::operator new(static_cast<std::size_t>(count) * sizeof(float),
                                                 std::align_val_t(LINE)))) {
    std::memset(data_.get(), 0, static_cast<std::size_t>(count) * sizeof(float));
  }

  float* data() const { return data_.get(); }

 private:
  struct Freed {
    void operator()(float* data) const { ::operator delete(data, std::align_val_t(LINE)); }
  };
  std::unique_ptr<float, Freed> data_;
};

// Rows as long as this start in different sets of the cache: an odd number of lines apart. At a
// multiple of 4 KB, a power of two for instance, sixteen rows would take turns in the same places.
inline std::ptrdiff_t stride_for(std::ptrdiff_t columns) {
  const std::ptrdiff_t lines = (columns + ALIGN - 1) / ALIGN;
  return (lines | 1) * ALIGN;
}

// Hands out places in a memory that is allocated once its size is known.
class Layout {
 public:
  // Column 0 of each row stands on a cache line, with room for `left` columns before it.
  Place rows(std::ptrdiff_t count, std::ptrdiff_t left, std::ptrdiff_t columns) {
    const std::ptrdiff_t before = whole_vectors(left), stride = stride_for(before + columns);
    const Place place{size_ + before, stride};
    size_ += count * stride;
    return place;
  }

  std::ptrdiff_t size() const { return size_; }

 private:
  std::ptrdiff_t size_ = 0;
};

}  // namespace ampscope
