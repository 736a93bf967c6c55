#include "paths.h"

#include <stdexcept>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace ampscope {

std::vector<const Path*> usable_paths() {
  std::vector<const Path*> paths;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool fused = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (fused && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    paths.push_back(&avx512::path);
  if (fused) paths.push_back(&avx2::path);
#endif
  paths.push_back(&portable::path);
  return paths;
}

const Path& path_named(const std::string& name) {
  const std::vector<const Path*> paths = usable_paths();
  if (name.empty()) return *paths.front();
  std::string known;
  for (const Path* path : paths) {
    if (name == path->name) return *path;
    known += (known.empty() ? "" : ", ") + std::string(path->name);
  }
  throw std::invalid_argument("no instruction path '" + name + "' here: there are " + known);
}

#if defined(__x86_64__)

FlushDenormals::FlushDenormals() : before_(_mm_getcsr()) {
  _mm_setcsr(static_cast<unsigned>(before_) | 0x8040);  // results (15) and operands (6) to 0
}

FlushDenormals::~FlushDenormals() { _mm_setcsr(static_cast<unsigned>(before_)); }

#elif defined(__aarch64__)

FlushDenormals::FlushDenormals() {
  asm volatile("mrs %0, fpcr" : "=r"(before_));
  asm volatile("msr fpcr, %0" : : "r"(before_ | (1ul << 24)));
}

FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

#else

FlushDenormals::FlushDenormals() : before_(0) {}
FlushDenormals::~FlushDenormals() { (void)before_; }

#endif

}  // namespace ampscope
