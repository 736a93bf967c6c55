// The Python module: arrays in, arrays out, the interpreter's lock released while it works.
// What it takes is documented in profiler/kernels/__init__.py.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "lstm.h"
#include "module_live.h"
#include "network.h"
#include "pass.h"
#include "paths.h"
#include "stream.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ampscope {
namespace {

using Signal = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Signals = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Target = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Targets = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

std::ptrdiff_t length(const Signal& signal) { return static_cast<std::ptrdiff_t>(signal.shape(0)); }

void expect_shape(const char* what, std::size_t rows, std::size_t columns, std::ptrdiff_t own_rows,
                  std::ptrdiff_t own_columns) {
  if (static_cast<std::ptrdiff_t>(rows) == own_rows &&
      static_cast<std::ptrdiff_t>(columns) == own_columns)
    return;
  throw std::invalid_argument(std::string(what) + " is (" + std::to_string(rows) + ", " +
                              std::to_string(columns) + "), expected (" +
                              std::to_string(own_rows) + ", " + std::to_string(own_columns) + ")");
}

constexpr std::size_t MOST_NESTED = 16;

// `chain` holds a network and its weights, or several: each but the last conditions the next.
std::unique_ptr<Player> player_of(const nb::list& chain, bool players_tanh, const Path& path) {
  if (chain.size() > MOST_NESTED)
    throw std::invalid_argument(std::to_string(chain.size()) + " nested networks, expected at most " +
                                std::to_string(MOST_NESTED));
  std::unique_ptr<Player> player;
  for (const nb::handle part : chain) {
    const auto weights = nb::cast<Signal>(part[1], false);
    if (nb::isinstance<Lstm>(part[0])) {
      if (player) throw std::invalid_argument("an LSTM takes no condition");
      player = std::make_unique<LstmPlayer>(nb::cast<const Lstm&>(part[0]), weights.data(),
                                            length(weights), players_tanh, path);
    } else {
      player = std::make_unique<WaveNetPlayer>(nb::cast<const Network&>(part[0]), weights.data(),
                                               length(weights), players_tanh, path,
                                               std::move(player));
    }
  }
  if (!player) throw std::invalid_argument("a stream needs a network, got none");
  return player;
}

void process(Stream& stream, const Signal& in, const Target& out) {
  if (in.shape(0) != out.shape(0))
    throw std::invalid_argument("got " + std::to_string(in.shape(0)) + " samples in and room for " +
                                std::to_string(out.shape(0)));
  Stream::Result result;
  {
    const nb::gil_scoped_release released;
    result = stream.process(in.data(), out.data(), length(in));
  }
  if (result == Stream::Result::busy)
    throw std::invalid_argument("a stream plays one block at a time, and another thread plays one");
  if (result == Stream::Result::not_finite) check_finite(in.data(), length(in), "input");
}

}  // namespace
}  // namespace ampscope

NB_MODULE(_native, module) {
  using namespace ampscope;

  nb::set_leak_warnings(false);  // what a user still holds when Python ends is no news to her

  module.def("paths", [] {
    std::vector<std::string> names;
    for (const Path* path : usable_paths()) names.emplace_back(path->name);
    return names;
  });

  nb::class_<LayerArray>(module, "LayerArray")
      .def(
          "__init__",
          [](LayerArray* self, int input_size, int condition_size, int channels,
             std::vector<int> kernel_sizes, std::vector<int> dilations, std::string activation,
             float slope, bool gated, int head_size, int head_taps, bool head_bias) {
            new (self) LayerArray{input_size, condition_size,        channels,
                                  std::move(kernel_sizes), std::move(dilations),
                                  std::move(activation),   slope,    gated,
                                  head_size,  head_taps,             head_bias};
          },
          "input_size"_a, "condition_size"_a, "channels"_a, "kernel_sizes"_a, "dilations"_a,
          "activation"_a, "slope"_a, "gated"_a, "head_size"_a, "head_taps"_a, "head_bias"_a);

  nb::class_<Network>(module, "Network")
      .def(nb::init<std::vector<LayerArray>>(), "arrays"_a)
      .def_prop_ro("weight_count", &Network::weight_count)
      .def_prop_ro("receptive_field", &Network::receptive_field);

  nb::class_<Lstm>(module, "Lstm")
      .def(nb::init<int, int, int, std::ptrdiff_t>(), "hidden_size"_a, "num_layers"_a, "outputs"_a,
           "prewarm"_a)
      .def_prop_ro("weight_count", &Lstm::weight_count);

  nb::class_<Stream>(module, "Stream")
      .def(
          "__init__",
          [](Stream* self, const nb::list& chain, bool players_tanh, const std::string& path) {
            new (self) Stream(player_of(chain, players_tanh, path_named(path)));
          },
          "chain"_a, "players_tanh"_a, "path"_a)
      .def("process", &process, "block"_a.noconvert(), "out"_a.noconvert())
      .def("reset", &Stream::reset, nb::call_guard<nb::gil_scoped_release>());

  nb::class_<Pass>(module, "Pass")
      .def(
          "__init__",
          [](Pass* self, const Network& network, std::ptrdiff_t outputs, int segments, int threads,
             const std::string& path) {
            new (self) Pass(network, outputs, segments, threads, path_named(path));
          },
          "network"_a, "outputs"_a, "segments"_a, "threads"_a, "path"_a)
      .def_prop_ro("inputs", &Pass::inputs)
      .def(
          "forward",
          [](Pass& pass, const Signal& weights, const Signals& x, const Targets& y) {
            expect_shape("input", x.shape(0), x.shape(1), pass.segments(), pass.inputs());
            expect_shape("output", y.shape(0), y.shape(1), pass.segments(), pass.outputs());
            const nb::gil_scoped_release released;
            pass.forward(weights.data(), length(weights), x.data(), y.data());
          },
          "weights"_a.noconvert(), "x"_a.noconvert(), "y"_a.noconvert())
      .def(
          "backward",
          [](Pass& pass, const Signals& dy, const Target& gradient) {
            expect_shape("output gradient", dy.shape(0), dy.shape(1), pass.segments(),
                         pass.outputs());
            expect_shape("gradient", 1, gradient.shape(0), 1, pass.weight_count());
            const nb::gil_scoped_release released;
            pass.backward(dy.data(), gradient.data());
          },
          "dy"_a.noconvert(), "gradient"_a.noconvert());

  define_live(module);
}
