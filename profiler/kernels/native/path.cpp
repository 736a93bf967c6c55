// The kernels of one instruction path. Compiled once a path, with AMPSCOPE_PATH its name,
// AMPSCOPE_LANES its width, and the compiler's flags for its instructions.

#include "correlation.h"
#include "layer.h"
#include "recurrence.h"

namespace ampscope::AMPSCOPE_PATH {
namespace {

// ---- streaming -------------------------------------------------------------------------------

// Write the other copy of those columns, just written at `now`, that stand in two places.
void repeat(const Ring& ring, int columns) {
  const int position = ring.position, capacity = ring.capacity, end = position + columns;
  if (position >= STRIP && end <= capacity) return;
  // Whole vectors: the surplus lands where the next block goes.
  for (int number = 0; number < ring.count; number++) {
    float* row = ring.rows.row(number);
    for (int t = position; t < end && t < STRIP; t += LANES) store(row + capacity + t, load(row + t));
    for (int t = capacity; t < end; t += LANES) store(row + t - capacity, load(row + t));
  }
}

// Where the taps of a product find what they reach back to: before `now`, or at the ring's end.
INLINE void steer(const Product& product, const Ring& ring, int taps, int dilation) {
  for (int tap = 0; tap < taps; tap++) {
    const std::ptrdiff_t lag = static_cast<std::ptrdiff_t>(taps - 1 - tap) * dilation;
    std::ptrdiff_t* offsets = product.offsets + static_cast<std::ptrdiff_t>(tap) * ring.count;
    const std::ptrdiff_t turn = (lag > ring.position ? ring.capacity - lag : -lag) - offsets[0];
    if (turn == 0) continue;
    for (int channel = 0; channel < ring.count; channel++) offsets[channel] += turn;
  }
}

INLINE void advance(Ring& ring, int columns) {
  ring.position += columns;
  if (ring.position >= ring.capacity) ring.position -= ring.capacity;
}

// One strip through the whole network. Nothing here allocates, locks, or depends on the signal.
void stream(StreamNet& net, int columns) {
  Rows entering = net.raw;
  for (int number = 0; number < net.array_count; number++) {
    StreamArray& array = net.arrays[number];
    multiply<false>(array.rechannel, nullptr, entering.data, array.layers[0].source.now(), columns);
    repeat(array.layers[0].source, columns);
    const Rows total = array.total.now();
    for (int depth = 0; depth < array.layer_count; depth++) {
      StreamLayer& layer = array.layers[depth];
      const bool last = depth + 1 == array.layer_count;
      const Rows h = layer.source.now();
      steer(layer.conv, layer.source, layer.taps, layer.dilation);
      const Total totalling = number + depth == 0 ? Total::begins : Total::goes_on;
      const Rows a = activate(layer, h.data, net.condition.data, net.activations, net.gated, total,
                              totalling, columns);
      if (!layer.unread) {
        pass_on(layer, h, a.data, last ? net.leaving : array.layers[depth + 1].source.now(),
                columns);
        if (!last) repeat(array.layers[depth + 1].source, columns);
      }
      advance(layer.source, columns);
    }
    if (array.head_taps > 1) {
      repeat(array.total, columns);
      steer(array.head, array.total, array.head_taps, 1);
    }
    const bool last = number + 1 == net.array_count;
    multiply<false>(array.head, array.head_bias, total.data,
                    last ? net.head : net.arrays[number + 1].total.now(), columns);
    if (array.head_taps > 1) advance(array.total, columns);
    entering = net.leaving;
  }
}

// ---- forward ---------------------------------------------------------------------------------

// Calls work(column, columns) for pieces of at most `size` columns of [begin, end), first to last.
template <class Work>
INLINE void in_pieces(std::ptrdiff_t begin, std::ptrdiff_t end, int size, const Work& work) {
  for (; begin < end; begin += size) work(begin, end - begin < size ? end - begin : size);
}

// The same, last to first.
template <class Work>
INLINE void in_pieces_back(std::ptrdiff_t begin, std::ptrdiff_t end, int size, const Work& work) {
  for (; end > begin; end -= size) {
    const std::ptrdiff_t columns = end - begin < size ? end - begin : size;
    work(end - columns, columns);
  }
}

// A layer at a time over the whole segment, in strips: layer by layer the working set is one
// layer's weights and a strip, and what is written is written for the way back anyway.
void forward(const PassNet& net, float* segment, float* workspace) {
  const Rows driven = net.driven.in(segment), gated = net.gated.in(workspace);
  for (int number = 0; number < net.array_count; number++) {
    const PassArray& array = net.arrays[number];
    const Rows source = array.source.in(segment), total = array.total.in(segment);
    const Rows first = array.layers[0].source.in(segment);
    in_pieces(array.begin, net.columns, STRIP, [&](std::ptrdiff_t t, std::ptrdiff_t columns) {
      multiply<false>(array.rechannel, nullptr, source.data + t, first.at(t), columns);
    });
    for (int depth = 0; depth < array.layer_count; depth++) {
      const PassLayer& layer = array.layers[depth];
      const bool last = depth + 1 == array.layer_count;
      const Rows h = layer.source.in(segment), a = layer.activations.in(segment);
      const Rows out = (last ? array.leaving : array.layers[depth + 1].source).in(segment);
      const auto strip = [&](std::ptrdiff_t t, std::ptrdiff_t columns, Total totalling) {
        const Rows passed = activate(layer, h.data + t, driven.data + t, a.at(t), gated,
                                     total.at(t), totalling, columns);
        if (!layer.unread) pass_on(layer, h.at(t), passed.data, out.at(t), columns);
      };
      in_pieces(layer.begin, array.head_begin, STRIP,
                [&](std::ptrdiff_t t, std::ptrdiff_t columns) { strip(t, columns, Total::none); });
      const Total totalling = number + depth == 0 ? Total::begins : Total::goes_on;
      in_pieces(array.head_begin, net.columns, STRIP,
                [&](std::ptrdiff_t t, std::ptrdiff_t columns) { strip(t, columns, totalling); });
    }
    const Rows head_out = array.head_out.in(segment);
    in_pieces(array.out_begin, net.columns, STRIP, [&](std::ptrdiff_t t, std::ptrdiff_t columns) {
      multiply<false>(array.head, array.head_bias, total.data + t, head_out.at(t), columns);
    });
  }
}

// ---- backward --------------------------------------------------------------------------------

INLINE void clear(float* from, std::ptrdiff_t count) {
  __builtin_memset(from, 0, static_cast<std::size_t>(count) * sizeof(float));
}

// Sums of correlations that belong together, one after another in the workspace.
struct Sums {
  float* next;

  float* take(std::ptrdiff_t count) {
    float* taken = next;
    next += count * LANES;
    clear(taken, count * LANES);
    return taken;
  }
};

// Gradient of a layer's z from that of its h' (`dh`) and of the head's total, if it reaches here.
template <Activation CURVE, bool GATED>
void back_to_z(const PassLayer& layer, Rows dh, const Rows* dtotal, Rows a, Rows gated, Rows dz,
               std::ptrdiff_t columns) {
  over_tiles(layer.channels, columns, [&]<int ROWS, int VECTORS>(int row, int column) {
    Tile<ROWS, VECTORS> da;
    fill(da, nullptr);
    if (dtotal) add(da, Rows{dtotal->row(row) + column, dtotal->stride});
    if (!layer.unread) accumulate(da, layer.residual_back, row, dh.data + column);
    UNROLL
    for (int r = 0; r < ROWS; r++) {
      const int second = layer.channels + row + r;
      UNROLL
      for (int v = 0; v < VECTORS; v++) {
        const std::ptrdiff_t t = column + v * LANES;
        const Lanes curve = load(a.row(row + r) + t);
        const Lanes of_curve = da.at[r][v] * derivative<CURVE>(curve, layer.slope);
        if constexpr (GATED) {
          const Lanes gate = load(a.row(second) + t);
          store(gated.row(row + r) + t, curve * gate);
          store(dz.row(row + r) + t, of_curve * gate);
          store(dz.row(second) + t, da.at[r][v] * curve * gate * (1.0f - gate));
        } else {
          store(dz.row(row + r) + t, of_curve);
        }
      }
    }
  });
}

// Ask for the `share`-th part of some rows, of `shares`. A dozen rows and more are too many streams
// for the hardware to foresee, and a block of all of them at once too many requests.
INLINE void prefetch(Rows rows, int count, int share, int shares) {
  for (int row = count * share / shares; row < count * (share + 1) / shares; row++)
    for (int t = 0; t < BLOCK; t += ALIGN) __builtin_prefetch(rows.row(row) + t, 0, 2);
}

// A layer backwards, block by block from the end: dz of a block, then what it adds to the weights'
// gradients, then the gradient of what entered, in place of dh. A tap hands dz back to an earlier
// column, so every block finds the dz that it needs: its own, and those already done.
void layer_back(const PassNet& net, const PassArray& array, const PassLayer& layer, float* segment,
                float* workspace, float* gradient) {
  const Rows h = layer.source.in(segment), a = layer.activations.in(segment);
  const Rows driven = net.driven.in(segment), ones{driven.row(1), driven.stride};
  const Rows dh = array.gradient.in(workspace), dz = net.pre_gradient.in(workspace);
  const Rows dtotal = array.total_gradient.in(workspace), gated = net.gated.in(workspace);
  const std::ptrdiff_t channels = layer.channels, outputs = layer.outputs;
  const std::ptrdiff_t reach = static_cast<std::ptrdiff_t>(layer.taps - 1) * layer.dilation;

  Sums sums{workspace + net.partial};
  float* conv = sums.take(layer.taps * outputs * channels);
  float* drive = sums.take(outputs * 2);
  float* residual = sums.take(channels * channels);
  float* residual_bias = sums.take(channels);

  // Where dz does not reach, below, other layers have left theirs.
  for (int row = 0; row < outputs; row++)
    clear(dz.row(row) + layer.source_begin, layer.begin - layer.source_begin);

  const auto back_to_source = [&](std::ptrdiff_t t, std::ptrdiff_t columns) {
    multiply<true>(layer.conv_back, nullptr, dz.data + t, dh.at(t), columns);
  };
  const auto block = [&](std::ptrdiff_t t, std::ptrdiff_t columns, bool under_head) {
    const Rows under = dtotal.at(t);
    const Rows* reaching = under_head ? &under : nullptr;
    const auto with = [&]<Activation CURVE>() {
      const auto back = layer.gated ? back_to_z<CURVE, true> : back_to_z<CURVE, false>;
      back(layer, dh.at(t), reaching, a.at(t), gated, dz.at(t), columns);
    };
    if (layer.activation == Activation::leaky_relu)
      with.template operator()<Activation::leaky_relu>();
    else
      with.template operator()<Activation::tanh>();
    if (!layer.unread) {
      correlate(dh.at(t), layer.channels, layer.gated ? gated : a.at(t), layer.channels, residual,
                columns);
      correlate(dh.at(t), layer.channels, ones.at(t), 1, residual_bias, columns);
    }
    for (int tap = 0; tap < layer.taps; tap++) {
      const std::ptrdiff_t lag = static_cast<std::ptrdiff_t>(layer.taps - 1 - tap) * layer.dilation;
      correlate(dz.at(t), layer.outputs, h.at(t - lag), layer.channels,
                conv + tap * outputs * channels * LANES, columns);
      // What the next block will find in no cache: a tenth of the time of the whole pass.
      prefetch(a.at(t - BLOCK), layer.outputs, tap, layer.taps);
      prefetch(h.at(t - BLOCK - reach), layer.channels, tap, layer.taps);
      if (under_head) prefetch(dtotal.at(t - BLOCK), layer.channels, tap, layer.taps);
    }
    correlate(dz.at(t), layer.outputs, driven.at(t), 2, drive, columns);
    back_to_source(t, columns);
  };
  in_pieces_back(array.head_begin, net.columns, BLOCK,
                 [&](std::ptrdiff_t t, std::ptrdiff_t columns) { block(t, columns, true); });
  in_pieces_back(layer.begin, array.head_begin, BLOCK,
                 [&](std::ptrdiff_t t, std::ptrdiff_t columns) { block(t, columns, false); });
  in_pieces_back(layer.source_begin, layer.begin, BLOCK, back_to_source);

  for (int tap = 0; tap < layer.taps; tap++)
    added_up(conv + tap * outputs * channels * LANES, layer.outputs, layer.channels,
             gradient + layer.conv_at + tap, channels * layer.taps, layer.taps);
  float both[2];
  for (int row = 0; row < outputs; row++) {
    added_up(drive + row * 2 * LANES, 1, 2, both, 0, 1);
    gradient[layer.mixin_at + row] = both[0];
    gradient[layer.conv_bias_at + row] = both[1];
  }
  added_up(residual, layer.channels, layer.channels, gradient + layer.residual_at, channels, 1);
  added_up(residual_bias, layer.channels, 1, gradient + layer.residual_bias_at, 1, 0);
}

void head_back(const PassNet& net, const PassArray& array, float* segment, float* workspace,
               float* gradient) {
  const Rows total = array.total.in(segment), ones{net.driven.in(segment).row(1), 0};
  const Rows dhead = array.head_gradient.in(workspace), dtotal = array.total_gradient.in(workspace);
  const std::ptrdiff_t each = static_cast<std::ptrdiff_t>(array.head_size) * array.channels;
  Sums sums{workspace + net.partial};
  float* weights = sums.take(array.head_taps * each);
  float* bias = sums.take(array.head_size);
  in_pieces(array.out_begin, net.columns, BLOCK, [&](std::ptrdiff_t t, std::ptrdiff_t columns) {
    for (int tap = 0; tap < array.head_taps; tap++)
      correlate(dhead.at(t), array.head_size, total.at(t - (array.head_taps - 1 - tap)),
                array.channels, weights + tap * each * LANES, columns);
    correlate(dhead.at(t), array.head_size, ones.at(t), 1, bias, columns);
  });
  for (int tap = 0; tap < array.head_taps; tap++)
    added_up(weights + tap * each * LANES, array.head_size, array.channels,
             gradient + array.head_at + tap, array.channels * array.head_taps, array.head_taps);
  if (array.head_bias_at >= 0)
    added_up(bias, array.head_size, 1, gradient + array.head_bias_at, 1, 0);
  in_pieces(array.head_begin, net.columns, STRIP, [&](std::ptrdiff_t t, std::ptrdiff_t columns) {
    multiply<false>(array.head_back, nullptr, dhead.data + t, dtotal.at(t), columns);
  });
}

void backward(const PassNet& net, float* segment, float* workspace, float* gradient) {
  for (int number = net.array_count - 1; number >= 0; number--) {
    const PassArray& array = net.arrays[number];
    const Rows dh = array.gradient.in(workspace);
    head_back(net, array, segment, workspace, gradient);
    for (int row = 0; row < array.channels; row++)
      clear(dh.row(row) + array.begin, net.columns - array.begin);
    if (number + 1 < net.array_count) {
      const PassArray& above = net.arrays[number + 1];
      const Rows dh_above = above.gradient.in(workspace);
      in_pieces(above.begin, net.columns, STRIP, [&](std::ptrdiff_t t, std::ptrdiff_t columns) {
        multiply<false>(above.rechannel_back, nullptr, dh_above.data + t, dh.at(t), columns);
      });
    }
    for (int depth = array.layer_count - 1; depth >= 0; depth--)
      layer_back(net, array, array.layers[depth], segment, workspace, gradient);

    const Rows source = array.source.in(segment);
    Sums sums{workspace + net.partial};
    float* rechannel = sums.take(static_cast<std::ptrdiff_t>(array.channels) * array.inputs);
    in_pieces(array.begin, net.columns, BLOCK, [&](std::ptrdiff_t t, std::ptrdiff_t columns) {
      correlate(dh.at(t), array.channels, source.at(t), array.inputs, rechannel, columns);
    });
    added_up(rechannel, array.channels, array.inputs, gradient + array.rechannel_at, array.inputs,
             1);
  }
}

#define AMPSCOPE_STRING(name) #name
#define AMPSCOPE_NAME(name) AMPSCOPE_STRING(name)

}  // namespace

extern const Path path{AMPSCOPE_NAME(AMPSCOPE_PATH), LANES, UNIT_VECTORS, stream, recur, forward,
                       backward};

}  // namespace ampscope::AMPSCOPE_PATH
