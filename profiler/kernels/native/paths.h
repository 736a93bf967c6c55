// The instruction paths that this build and this machine have.
#pragma once

#include <string>
#include <vector>

#include "plan.h"

namespace ampscope {

// Fastest first; the last one, `portable`, runs everywhere.
std::vector<const Path*> usable_paths();

// By name; the fastest for an empty one. Throws std::invalid_argument.
const Path& path_named(const std::string& name);

// While one lives, its thread treats denormal numbers as 0: they are far below any noise, and
// arithmetic on them is a hundred times slower, just when a note has died away.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned long before_;
};

}  // namespace ampscope
