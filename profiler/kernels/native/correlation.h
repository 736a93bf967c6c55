// The micro-kernel of the weights' gradients: every row of one signal against every row of another.
//
//   sums[r][s] += sum over t of g[r][t] x[s][t]
//
// A tile of ROW_TILE rows of g by SOURCES rows of x is held in registers, one vector of partial
// sums each, while time goes by: rows + sources loads for rows x sources multiply-adds. The lanes
// are added up once a segment (`added_up`), not once a block.
//
// Called for BLOCK columns and one tap at a time: 16 rows of both signals then are 32 KB, and stay
// in L1 while every tile reads them.
#pragma once

#include "lanes.h"
#include "plan.h"

namespace ampscope::AMPSCOPE_PATH {
namespace {

template <int ROWS, int HIGH>
INLINE void correlate_tile(Rows g, Rows x, float* sums, std::ptrdiff_t pitch,
                           std::ptrdiff_t columns) {
  Lanes total[ROWS][HIGH];
  UNROLL
  for (int r = 0; r < ROWS; r++)
    UNROLL
    for (int s = 0; s < HIGH; s++) total[r][s] = load(sums + r * pitch + s * LANES);
  for (std::ptrdiff_t t = 0; t < columns; t += LANES) {
    Lanes source[HIGH];
    UNROLL
    for (int s = 0; s < HIGH; s++) source[s] = load(x.row(s) + t);
    UNROLL
    for (int r = 0; r < ROWS; r++) {
      const Lanes gradient = load(g.row(r) + t);
      UNROLL
      for (int s = 0; s < HIGH; s++) total[r][s] += gradient * source[s];
    }
  }
  UNROLL
  for (int r = 0; r < ROWS; r++)
    UNROLL
    for (int s = 0; s < HIGH; s++) store(sums + r * pitch + s * LANES, total[r][s]);
}

template <int ROWS>
void correlate_rows(Rows g, Rows x, int x_rows, float* sums, std::ptrdiff_t pitch,
                    std::ptrdiff_t columns) {
  int s = 0;
  for (; s + SOURCES <= x_rows; s += SOURCES)
    correlate_tile<ROWS, SOURCES>(g, {x.row(s), x.stride}, sums + s * LANES, pitch, columns);
  for (; s < x_rows; s++)
    correlate_tile<ROWS, 1>(g, {x.row(s), x.stride}, sums + s * LANES, pitch, columns);
}

// Columns are whole vectors. `sums` is (g_rows, x_rows, LANES).
void correlate(Rows g, int g_rows, Rows x, int x_rows, float* sums, std::ptrdiff_t columns) {
  const std::ptrdiff_t pitch = static_cast<std::ptrdiff_t>(x_rows) * LANES;
  int r = 0;
  for (; r + ROW_TILE <= g_rows; r += ROW_TILE)
    correlate_rows<ROW_TILE>({g.row(r), g.stride}, x, x_rows, sums + r * pitch, pitch, columns);
  for (; r < g_rows; r++)
    correlate_rows<1>({g.row(r), g.stride}, x, x_rows, sums + r * pitch, pitch, columns);
}

// Into a gradient whose neighbouring rows stand `row_step`, sources `source_step` floats apart.
void added_up(const float* sums, int g_rows, int x_rows, float* gradient,
              std::ptrdiff_t row_step, std::ptrdiff_t source_step) {
  for (int r = 0; r < g_rows; r++)
    for (int s = 0; s < x_rows; s++, sums += LANES)
      gradient[r * row_step + s * source_step] = sum(load(sums));
}

}  // namespace
}  // namespace ampscope::AMPSCOPE_PATH
