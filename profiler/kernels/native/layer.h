// One layer, over a strip of columns: what streaming and training share.
//
//   z = conv(h) + mixin c + bias        a = activation(z)
//   total += a                          h' = h + residual a + bias
//
// The activation is taken and added to the head's total while z is still in registers; the
// residual product needs every channel of a, so it is a second round over the strip.
#pragma once

#include "activation.h"
#include "product.h"

namespace ampscope::AMPSCOPE_PATH {
namespace {

enum class Total { none, begins, goes_on };

// a = activation(z), total += a; `a` has a row for each output of the convolution.
template <Activation CURVE>
void convolve_and_activate(const Layer& layer, const float* source, const float* condition, Rows a,
                           Rows total, Total totalling, std::ptrdiff_t columns) {
  over_tiles(layer.channels, columns, [&]<int ROWS, int VECTORS>(int row, int column) {
    Tile<ROWS, VECTORS> tile;
    fill(tile, layer.conv_bias + row);
    accumulate(tile, layer.mixin, row, condition + column);
    accumulate(tile, layer.conv, row, source + column);
    const Rows here{total.row(row) + column, total.stride};
    UNROLL
    for (int r = 0; r < ROWS; r++)
      UNROLL
      for (int v = 0; v < VECTORS; v++)
        tile.at[r][v] = activated<CURVE>(tile.at[r][v], layer.slope);
    store(Rows{a.row(row) + column, a.stride}, tile);
    if (totalling == Total::goes_on) add(tile, here);
    if (totalling != Total::none) store(here, tile);
  });
}

// The gated kind: z first, twice as high, then activation and gate in place, and their product.
template <Activation CURVE>
void convolve_and_gate(const Layer& layer, const float* source, const float* condition, Rows a,
                       Rows gated, Rows total, Total totalling, std::ptrdiff_t columns) {
  over_tiles(layer.outputs, columns, [&]<int ROWS, int VECTORS>(int row, int column) {
    Tile<ROWS, VECTORS> tile;
    fill(tile, layer.conv_bias + row);
    accumulate(tile, layer.mixin, row, condition + column);
    accumulate(tile, layer.conv, row, source + column);
    store(Rows{a.row(row) + column, a.stride}, tile);
  });
  for (int row = 0; row < layer.channels; row++) {
    float *first = a.row(row), *second = a.row(layer.channels + row);
    float *product = gated.row(row), *sum = total.row(row);
    for (std::ptrdiff_t t = 0; t < columns; t += LANES) {
      const Lanes curve = activated<CURVE>(load(first + t), layer.slope);
      const Lanes gate = gate_of(load(second + t));
      store(first + t, curve);
      store(second + t, gate);
      store(product + t, curve * gate);
      if (totalling == Total::goes_on) store(sum + t, load(sum + t) + curve * gate);
      if (totalling == Total::begins) store(sum + t, curve * gate);
    }
  }
}

// A layer without its residual path. Returns what that path reads: a, or gated.
INLINE Rows activate(const Layer& layer, const float* source, const float* condition, Rows a,
                     Rows gated, Rows total, Total totalling, std::ptrdiff_t columns) {
  const auto with = [&]<Activation CURVE>() {
    if (layer.gated)
      convolve_and_gate<CURVE>(layer, source, condition, a, gated, total, totalling, columns);
    else
      convolve_and_activate<CURVE>(layer, source, condition, a, total, totalling, columns);
  };
  switch (layer.activation) {
    case Activation::tanh: with.template operator()<Activation::tanh>(); break;
    case Activation::players_tanh: with.template operator()<Activation::players_tanh>(); break;
    case Activation::leaky_relu: with.template operator()<Activation::leaky_relu>(); break;
  }
  return layer.gated ? gated : a;
}

// h' = h + residual a + bias
void pass_on(const Layer& layer, Rows h, const float* a, Rows out, std::ptrdiff_t columns) {
  over_tiles(layer.channels, columns, [&]<int ROWS, int VECTORS>(int row, int column) {
    Tile<ROWS, VECTORS> tile;
    fill(tile, layer.residual_bias + row);
    add(tile, Rows{h.row(row) + column, h.stride});
    accumulate(tile, layer.residual, row, a + column);
    store(Rows{out.row(row) + column, out.stride}, tile);
  });
}

}  // namespace
}  // namespace ampscope::AMPSCOPE_PATH
