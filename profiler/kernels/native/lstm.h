// An LSTM played block by block: its shape, checked, and where its weights go.
#pragma once

#include <cstddef>
#include <vector>

#include "memory.h"
#include "paths.h"
#include "plan.h"
#include "stream.h"

namespace ampscope {

// One input, as in the order of a .nam file: for every layer W [4 hidden][inputs + hidden], b
// [4 hidden] (gates i, f, g, o), the h and the c to begin with; then head [outputs][hidden] and its
// bias.
class Lstm {
 public:
  // `prewarm`: samples of silence that go before the first block. Throws std::invalid_argument.
  Lstm(int hidden, int layers, int outputs, std::ptrdiff_t prewarm);

  int hidden() const { return hidden_; }
  int layers() const { return layers_; }
  int outputs() const { return outputs_; }
  std::ptrdiff_t prewarm() const { return prewarm_; }
  int inputs(int layer) const { return layer ? hidden_ : 1; }
  std::ptrdiff_t layer_weight_count(int layer) const;
  std::ptrdiff_t weight_count() const;

 private:
  int hidden_, layers_, outputs_;
  std::ptrdiff_t prewarm_;
};

class LstmPlayer final : public Player {
 public:
  // Throws std::invalid_argument for weights that do not fit.
  LstmPlayer(const Lstm& shape, const float* weights, std::ptrdiff_t weight_count,
             bool players_tanh, const Path& path);

  int outputs() const override { return shape_.outputs(); }
  // A Stream plays one sample of silence more than this.
  std::ptrdiff_t memory() const override { return shape_.prewarm() - 1; }
  void forget() noexcept override;
  void play(const float* in, Rows out, int columns) noexcept override;

 private:
  float* floats(std::ptrdiff_t count);
  void plan_layer(int number, const float* weights);

  Lstm shape_;
  const Path& path_;
  std::ptrdiff_t pitch_;  // floats from one moment of h to the next: hidden, in whole vectors
  std::vector<std::vector<LstmTile>> tiles_;
  std::vector<LstmLayer> layers_;
  std::vector<const float*> first_;  // for every layer h and c to begin with, `pitch_` each
  std::vector<Floats> memory_;
  LstmNet net_{};
};

}  // namespace ampscope
