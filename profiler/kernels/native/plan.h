// What the common code prepares and the instruction paths work on: plain numbers and pointers.
//
// Layout: time-contiguous. A signal of C channels is C rows, `stride` floats apart; a column is a
// moment. Every product of a network then is a sum of *shifted rows*, and a register holds 4 to 16
// moments of one channel, so that no lane idles whatever the number of channels (16, 12, 3 or 1).
// Lags make loads unaligned; they are a quarter of the work of the multipliers and hide behind it.
//
// A path's translation unit includes no header of the C++ library: an inline function of it,
// compiled with AVX-512, might be the copy that the linker keeps for all.
#pragma once

#include <cstddef>

namespace ampscope {

constexpr int ROW_TILE = 4;  // rows of a product that are computed together
constexpr int ALIGN = 16;    // columns: a whole number of vectors on every path
constexpr int STRIP = 64;    // columns that go through a layer at a time: all of it stays in L1
constexpr int BLOCK = 256;   // columns that go back through a layer at a time: stays in L2

inline constexpr std::ptrdiff_t whole_vectors(std::ptrdiff_t columns) {
  return (columns + ALIGN - 1) / ALIGN * ALIGN;
}

enum class Activation { tanh, players_tanh, leaky_relu };

// out[row][t] = start + sum over j of weight[row][j] in[t + offset_j]
//
// Each term is one row of the source at one lag. Packed by tiles of ROW_TILE rows, the last tile
// as high as what is left: within a tile, the weights of term 0 for its rows, those of term 1, ...
struct Product {
  const float* weights;
  std::ptrdiff_t* offsets;  // from column t of the source's first row; a ring's turn with it
  int rows, terms;
};

struct Layer {
  int channels, outputs;  // outputs of the convolution: twice the channels if gated
  int taps, dilation;
  Activation activation;
  float slope;  // of a leaky ReLU below 0
  bool gated;
  bool unread;  // nothing reads what leaves its residual path: the last layer of the last array
  Product conv, mixin, residual;
  const float *conv_bias, *residual_bias;
};

// Rows in memory.
struct Rows {
  float* data;  // first row, first column
  std::ptrdiff_t stride;

  float* row(int number) const { return data + number * stride; }
  Rows at(std::ptrdiff_t column) const { return {data + column, stride}; }
};

// Rows in memory that is named later: a segment's, or a thread's.
struct Place {
  std::ptrdiff_t start, stride;

  Rows in(float* memory) const { return {memory + start, stride}; }
};

// ---- streaming -------------------------------------------------------------------------------

// The last `capacity` columns of some rows, and the first STRIP of them once more behind the last,
// so that a strip is contiguous wherever it begins. A block is written once and never moved, but
// for those of the STRIP columns: what is written twice must be fetched twice, and on processors
// with little cache that cost a sixth of the time.
struct Ring {
  Rows rows;  // capacity + STRIP + ALIGN columns
  int count;  // of rows
  int capacity, position;

  Rows now() const { return rows.at(position); }
};

struct StreamLayer : Layer {
  Ring source;  // what enters it
};

struct StreamArray {
  Product rechannel, head;
  const float* head_bias;
  int channels, head_size, head_taps, layer_count;
  StreamLayer* layers;
  Ring total;  // of the activations; goes round only under a head of several taps
};

struct StreamNet {
  StreamArray* arrays;
  int array_count;
  Rows condition;  // STRIP columns, like the scratch rows below
  Rows raw;        // what the first array's rechannel reads
  Rows activations, gated, leaving;
  Rows head;  // of the last array: the output, before the head scale
};

// ---- an LSTM ---------------------------------------------------------------------------------

constexpr int GATES = 4;  // rows of a unit: i, f, g, o

// Some units of a layer, `vectors` registers of them.
struct LstmTile {
  const float* weights;  // bias, then every term's, [gate][unit] each, in the order of use
  int vectors, unit;
};

struct LstmLayer {
  LstmTile* tiles;
  int tile_count;
  int inputs, terms;  // terms of h: hidden, rounded up to an even number
  float* h;           // (STRIP + 1, pitch), moment by moment
  float* c;           // (pitch)
};

// What pads a moment to whole vectors has weights of 0, and stays 0.
struct LstmNet {
  LstmLayer* layers;
  int layer_count;
  std::ptrdiff_t pitch;
  const float *head, *head_bias;  // (outputs, pitch)
  int outputs;
  bool players_tanh;
};

// ---- forward and backward --------------------------------------------------------------------

// Column 0 is the first sample of a segment. A `begin` is the first column that matters, rounded
// down to whole vectors: what stands in between is finite, and meets gradients that are 0.
struct PassLayer : Layer {
  Product residual_back, conv_back;
  std::ptrdiff_t begin;         // of its activations
  std::ptrdiff_t source_begin;  // of what enters it
  Place source, activations;    // in the segment: kept for the way back
  std::ptrdiff_t conv_at, conv_bias_at, mixin_at, residual_at, residual_bias_at;  // in the gradient
};

struct PassArray {
  Product rechannel, rechannel_back, head, head_back;
  const float* head_bias;
  int inputs, channels, head_size, head_taps, layer_count;
  PassLayer* layers;
  std::ptrdiff_t begin;       // of what enters the first layer
  std::ptrdiff_t head_begin;  // of the sum of activations
  std::ptrdiff_t out_begin;   // of what leaves the head
  Place source;               // in the segment: what the rechannel reads
  Place leaving;              // in the segment: what the next array's rechannel reads
  Place total, head_out;      // in the segment: head_out is the next array's total
  Place gradient;             // in the workspace, of the rows on the residual path
  Place total_gradient, head_gradient;  // in the workspace
  std::ptrdiff_t rechannel_at, head_at, head_bias_at;  // in the gradient; -1 for no bias
};

struct PassNet {
  PassArray* arrays;
  int array_count;
  std::ptrdiff_t columns;  // whole vectors that hold a segment
  Place driven;            // in the segment: the input, and a row of ones below it
  Place gated;             // in the workspace: activation times gate, BLOCK columns
  Place pre_gradient;      // in the workspace: of z, with zeros to its right as far as a tap reaches
  std::ptrdiff_t partial;  // in the workspace: the sums of a correlation, a vector each
};

// ---- what a path can do ----------------------------------------------------------------------

struct Path {
  const char* name;
  int lanes;         // floats in a register
  int unit_vectors;  // registers of units that an LSTM's tile has at most
  // `raw` and `condition` in, the last `total`'s head out: `columns` (at most STRIP) of each.
  void (*stream)(StreamNet&, int columns);
  // `in` through an LSTM to the rows of its head: `columns` (at most STRIP) of each.
  void (*recur)(LstmNet&, const float* in, Rows out, int columns);
  // From `driven` to the last `head_out`.
  void (*forward)(const PassNet&, float* segment, float* workspace);
  // From the last `head_gradient` to the gradient, in the order of the weights.
  void (*backward)(const PassNet&, float* segment, float* workspace, float* gradient);
};

#if defined(__x86_64__)
namespace avx512 {
extern const Path path;
}
namespace avx2 {
extern const Path path;
}
#endif
namespace portable {
extern const Path path;
}

}  // namespace ampscope
