// The micro-kernel of everything that is a convolution: sums of shifted, weighted rows.
//
// A tile is up to ROW_TILE rows by COLUMNS vectors of time, held in registers while the terms go
// by. A term costs one load a vector and one broadcast weight a row, for rows x vectors multiply-
// adds: at 4 x 4 half a load each, so that the multipliers, not the loads, are the limit (96 % of
// their peak on Zen 5, in either width). Weights are packed in the order in which they are read.
//
// Tiles run over time first, then rows: a strip of the source stays in L1 for all tiles of rows.
#pragma once

#include "lanes.h"
#include "plan.h"

namespace ampscope::AMPSCOPE_PATH {
namespace {

template <int ROWS, int VECTORS>
struct Tile {
  Lanes at[ROWS][VECTORS];
};

template <int ROWS, int VECTORS>
INLINE void fill(Tile<ROWS, VECTORS>& tile, const float* bias) {
  UNROLL
  for (int row = 0; row < ROWS; row++)
    UNROLL
    for (int v = 0; v < VECTORS; v++) tile.at[row][v] = bias ? all(bias[row]) : Lanes{};
}

template <int ROWS, int VECTORS>
INLINE void add(Tile<ROWS, VECTORS>& tile, Rows from) {
  UNROLL
  for (int row = 0; row < ROWS; row++)
    UNROLL
    for (int v = 0; v < VECTORS; v++) tile.at[row][v] += load(from.row(row) + v * LANES);
}

template <int ROWS, int VECTORS>
INLINE void store(Rows to, const Tile<ROWS, VECTORS>& tile) {
  UNROLL
  for (int row = 0; row < ROWS; row++)
    UNROLL
    for (int v = 0; v < VECTORS; v++) store(to.row(row) + v * LANES, tile.at[row][v]);
}

// tile += rows `row`... of the product with what stands at and around `source`.
template <int ROWS, int VECTORS>
INLINE void accumulate(Tile<ROWS, VECTORS>& tile, const Product& product, int row,
                       const float* source) {
  const float* weights = product.weights + static_cast<std::ptrdiff_t>(row) * product.terms;
  const std::ptrdiff_t* offsets = product.offsets;
  const auto add_term = [&](int term) __attribute__((always_inline)) {
    const float* at = source + offsets[term];
    Lanes values[VECTORS];
    UNROLL
    for (int v = 0; v < VECTORS; v++) values[v] = load(at + v * LANES);
    UNROLL
    for (int r = 0; r < ROWS; r++) {
      const Lanes weight = all(weights[term * ROWS + r]);
      UNROLL
      for (int v = 0; v < VECTORS; v++) tile.at[r][v] += weight * values[v];
    }
  };
  // Four at a time: of so short a loop the processor foresees the end.
  int term = 0;
  for (; term + 4 <= product.terms; term += 4) {
    add_term(term);
    add_term(term + 1);
    add_term(term + 2);
    add_term(term + 3);
  }
  for (; term < product.terms; term++) add_term(term);
}

template <int VECTORS, class Work>
INLINE void over_rows(int rows, int column, const Work& work) {
  int row = 0;
  for (; row + ROW_TILE <= rows; row += ROW_TILE)
    work.template operator()<ROW_TILE, VECTORS>(row, column);
  switch (rows - row) {
    case 3: work.template operator()<3, VECTORS>(row, column); break;
    case 2: work.template operator()<2, VECTORS>(row, column); break;
    case 1: work.template operator()<1, VECTORS>(row, column); break;
  }
}

// Calls work<ROWS, VECTORS>(row, column) for tiles that cover `rows` by at least `columns`.
template <class Work>
INLINE void over_tiles(int rows, std::ptrdiff_t columns, const Work& work) {
  int column = 0;
  int vectors = static_cast<int>((columns + LANES - 1) / LANES);
  for (; vectors >= COLUMNS; vectors -= COLUMNS, column += COLUMNS * LANES)
    over_rows<COLUMNS>(rows, column, work);
  if constexpr (COLUMNS > 3)
    if (vectors == 3) over_rows<3>(rows, column, work);
  if constexpr (COLUMNS > 2)
    if (vectors == 2) over_rows<2>(rows, column, work);
  if (vectors == 1) over_rows<1>(rows, column, work);
}

// out = bias + [what stands there] + product; the bias may be absent.
template <bool ADD>
void multiply(const Product& product, const float* bias, const float* source, Rows out,
              std::ptrdiff_t columns) {
  over_tiles(product.rows, columns, [&]<int ROWS, int VECTORS>(int row, int column) {
    Tile<ROWS, VECTORS> tile;
    fill(tile, bias ? bias + row : nullptr);
    const Rows to{out.row(row) + column, out.stride};
    if constexpr (ADD) add(tile, to);
    accumulate(tile, product, row, source + column);
    store(to, tile);
  });
}

}  // namespace
}  // namespace ampscope::AMPSCOPE_PATH
