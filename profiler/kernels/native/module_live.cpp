// The part of the Python module that plays live; documented in profiler/kernels/live.py.
#include "module_live.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "convolver.h"
#include "live.h"
#include "stream.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ampscope {
namespace {

using Signal = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Target = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Frames = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using FramesOut = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

const char* name_of(Live::Ending ending) {
  switch (ending) {
    case Live::Ending::none: return "";
    case Live::Ending::input_not_finite: return "input-not-finite";
    case Live::Ending::output_not_finite: return "output-not-finite";
    case Live::Ending::clipped: return "clipped";
    case Live::Ending::offset: return "offset";
  }
  return "";
}

}  // namespace

void define_live(nb::module_& module) {
  nb::class_<Convolver>(module, "Convolver")
      .def(
          "__init__",
          [](Convolver* self, const Signal& impulse) {
            new (self) Convolver(impulse.data(), static_cast<std::ptrdiff_t>(impulse.shape(0)));
          },
          "impulse"_a.noconvert())
      .def(
          "process",
          [](Convolver& self, const Signal& in, const Target& out) {
            if (in.shape(0) != out.shape(0))
              throw std::invalid_argument("blocks of unequal lengths");
            const nb::gil_scoped_release released;
            self.process(in.data(), out.data(), static_cast<std::ptrdiff_t>(in.shape(0)));
          },
          "block"_a.noconvert(), "out"_a.noconvert())
      .def("forget", &Convolver::forget);

  nb::class_<Live>(module, "Live")
      .def(
          "__init__",
          [](Live* self, int sample_rate, int inputs, int input, int outputs, std::vector<int> to,
             float ceiling, double rise_seconds) {
            const Wiring wiring{sample_rate, inputs, input, outputs, std::move(to)};
            new (self) Live(wiring, ceiling, rise_seconds);
          },
          "sample_rate"_a, "inputs"_a, "input"_a, "outputs"_a, "to"_a, "ceiling"_a,
          "rise_seconds"_a)
      .def(
          "play",
          [](Live& self, std::shared_ptr<Stream> stream, std::shared_ptr<Convolver> convolver) {
            self.play({std::move(stream), std::move(convolver)});
          },
          "stream"_a, "convolver"_a.none())
      .def("free_old", &Live::free_old)
      .def("set_gains", &Live::set_gains, "gain_in"_a, "gain_out"_a)
      .def("set_muted", &Live::set_muted, "muted"_a)
      .def(
          "measure",
          [](Live& self, const Signal& probe) {
            self.measure(probe.data(), static_cast<std::ptrdiff_t>(probe.shape(0)));
          },
          "probe"_a.noconvert())
      .def("measured", &Live::measured)
      .def("fade_out", &Live::fade_out)
      .def(
          "callback",
          [](Live& self, const Frames& in, const FramesOut& out, unsigned long flags) {
            if (in.shape(0) != out.shape(0) ||
                in.shape(1) != static_cast<std::size_t>(self.wiring().inputs) ||
                out.shape(1) != static_cast<std::size_t>(self.wiring().outputs))
              throw std::invalid_argument("buffers of other frames or channels");
            const nb::gil_scoped_release released;
            self.callback(in.data(), out.data(), static_cast<std::ptrdiff_t>(in.shape(0)), flags);
          },
          "block"_a.noconvert(), "out"_a.noconvert(), "flags"_a)
      .def("take_peaks",
           [](Live& self) {
             const float in = self.take_input_peak(), out = self.take_output_peak();
             return nb::make_tuple(in, out);
           })
      .def_prop_ro("load",
                   [](const Live& self) {
                     const Load load = self.load();
                     return nb::make_tuple(load.mean, load.high, load.highest);
                   })
      .def_prop_ro("switching", &Live::switching)
      .def_prop_ro("silent", &Live::silent)
      .def_prop_ro("ending", [](const Live& self) { return name_of(self.ending()); })
      .def_prop_ro("blocks", &Live::blocks)
      .def_prop_ro("frames", &Live::frames)
      .def_prop_ro("late", &Live::late)
      .def_prop_ro("overloaded", &Live::overloaded)
      .def_prop_ro("flagged", &Live::flagged)
      .def_prop_ro("clipped", &Live::clipped)
      .def_prop_ro("block_sizes",
                   [](const Live& self) {
                     return nb::make_tuple(self.least_frames(), self.most_frames());
                   })
      .def_prop_ro("address",
                   [](Live& self) { return reinterpret_cast<std::uintptr_t>(&self); })
      .def_prop_ro("callback_address",
                   [](Live&) { return reinterpret_cast<std::uintptr_t>(&ampscope_live); });
}

}  // namespace ampscope
