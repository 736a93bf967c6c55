// The micro-kernel of an LSTM: one moment of some units, from the moment before.
//
//   z = b + W_u u + W_h h                           (rows of four gates: i, f, g, o)
//   c = sigmoid(f) c + sigmoid(i) tanh(g)           h = sigmoid(o) tanh(c)
//
// A moment needs the one before, so lanes cannot be moments as in a convolution: they are units,
// and the four gates of a unit stand in the same lane of four registers. A tile is as many units as
// registers can hold the gates of, three vectors of them at most; its z never leaves them, and
// becomes c and h where it stands. Each term is one value of u or h, broadcast, times a column of
// weights.
//
// Layer by layer over a strip, so that a layer's weights stay in L1 (10 KB for 24 units). In a
// layer one moment after the other, within it tile by tile. What limits is latency, not the
// multipliers: the sums, two rational tanh in a row, and the stores that the next moment's
// broadcasts wait for. So the terms of u, which wait for nothing, come first: the processor begins
// them while the tanh before is under way; and a tile of a single vector, too few sums to keep two
// multipliers busy for the four cycles that one takes, sums the terms of h in two chains.
#pragma once

#include "activation.h"
#include "product.h"

namespace ampscope::AMPSCOPE_PATH {
namespace {

// Four would fit the 32 registers of AVX-512, but leave the curves too few: a half slower.
constexpr int UNIT_VECTORS = COLUMNS < 3 ? COLUMNS : 3;

// A gate that forgets one part in a thousand adds up a thousand errors of its sigmoid, so this takes
// the finer tanh: with the one of the convolutions, outputs were sixty times as far off.
template <bool PLAYERS>
INLINE Lanes curve_of(Lanes z) {
  return PLAYERS ? players_tanh_of(z) : fine_tanh_of(z);
}

template <int VECTORS>
INLINE void add_term(Tile<GATES, VECTORS>& z, const float* weights, float value) {
  UNROLL
  for (int gate = 0; gate < GATES; gate++)
    UNROLL
    for (int v = 0; v < VECTORS; v++)
      z.at[gate][v] += all(value) * load(weights + (gate * VECTORS + v) * LANES);
}

// h and c of the tile's units, for the input `u` and what all units were `before`.
template <bool PLAYERS, int VECTORS>
INLINE void step(const LstmLayer& layer, const LstmTile& tile, const float* u, const float* before,
                 float* after) {
  constexpr int WIDTH = GATES * VECTORS * LANES, CHAINS = VECTORS == 1 ? 2 : 1;
  const float* weights = tile.weights;
  Tile<GATES, VECTORS> z[CHAINS] = {};
  UNROLL
  for (int gate = 0; gate < GATES; gate++)
    UNROLL
    for (int v = 0; v < VECTORS; v++)
      z[0].at[gate][v] = load(weights + (gate * VECTORS + v) * LANES);
  weights += WIDTH;
  for (int term = 0; term < layer.inputs; term++, weights += WIDTH) add_term(z[0], weights, u[term]);
  for (int term = 0; term < layer.terms; term += 2, weights += 2 * WIDTH) {
    add_term(z[0], weights, before[term]);
    add_term(z[CHAINS - 1], weights + WIDTH, before[term + 1]);
  }
  if constexpr (CHAINS > 1)
    UNROLL
    for (int gate = 0; gate < GATES; gate++) z[0].at[gate][0] += z[1].at[gate][0];

  UNROLL
  for (int v = 0; v < VECTORS; v++) {
    float* c = layer.c + tile.unit + v * LANES;
    const Lanes i = curve_of<PLAYERS>(z[0].at[0][v]), f = curve_of<PLAYERS>(z[0].at[1][v]);
    const Lanes g = curve_of<PLAYERS>(z[0].at[2][v]), o = curve_of<PLAYERS>(z[0].at[3][v]);
    const Lanes next = 0.5f * ((f + 1.0f) * load(c) + (i + 1.0f) * g);
    store(c, next);
    store(after + tile.unit + v * LANES, 0.5f * (o + 1.0f) * curve_of<PLAYERS>(next));
  }
}

// Row 0 of a layer's h is what was before the strip, row t + 1 what is after its moment t.
template <bool PLAYERS>
void layer_over_time(const LstmLayer& layer, std::ptrdiff_t pitch, const float* u,
                     std::ptrdiff_t u_pitch, int columns) {
  float* h = layer.h;
  for (int t = 0; t < columns; t++, u += u_pitch, h += pitch)
    for (int number = 0; number < layer.tile_count; number++) {
      const LstmTile& tile = layer.tiles[number];
      switch (tile.vectors) {
        case 1: step<PLAYERS, 1>(layer, tile, u, h, h + pitch); break;
        case 2: step<PLAYERS, 2>(layer, tile, u, h, h + pitch); break;
        case 3:
          if constexpr (UNIT_VECTORS > 2) step<PLAYERS, 3>(layer, tile, u, h, h + pitch);
          break;
      }
    }
  __builtin_memcpy(layer.h, h, static_cast<std::size_t>(pitch) * sizeof(float));
}

// In halves, which the compiler makes shuffles of.
INLINE float folded(Lanes a) {
  float lanes[LANES];
  store(lanes, a);
  for (int half = LANES / 2; half; half /= 2)
    for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

// `columns` (at most STRIP) of `in` through all layers, and the head's rows.
void recur(LstmNet& net, const float* in, Rows out, int columns) {
  const float* u = in;
  std::ptrdiff_t u_pitch = 1;
  for (int number = 0; number < net.layer_count; number++) {
    const LstmLayer& layer = net.layers[number];
    if (net.players_tanh)
      layer_over_time<true>(layer, net.pitch, u, u_pitch, columns);
    else
      layer_over_time<false>(layer, net.pitch, u, u_pitch, columns);
    u = layer.h + net.pitch;
    u_pitch = net.pitch;
  }
  for (int t = 0; t < columns; t++, u += u_pitch)
    for (int row = 0; row < net.outputs; row++) {
      const float* weights = net.head + row * net.pitch;
      Lanes sum{};
      for (std::ptrdiff_t unit = 0; unit < net.pitch; unit += LANES)
        sum += load(weights + unit) * load(u + unit);
      out.row(row)[t] = net.head_bias[row] + folded(sum);
    }
}

}  // namespace
}  // namespace ampscope::AMPSCOPE_PATH
