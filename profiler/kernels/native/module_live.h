// The part of the Python module that plays live.
#pragma once

#include <nanobind/nanobind.h>

namespace ampscope {

void define_live(nanobind::module_& module);

}  // namespace ampscope
