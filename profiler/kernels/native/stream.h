// A network played block by block.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "memory.h"
#include "network.h"
#include "packing.h"
#include "paths.h"
#include "plan.h"

namespace ampscope {

// Something that turns a strip of one signal into a strip of several.
class Player {
 public:
  virtual ~Player() = default;
  virtual int outputs() const = 0;
  // Samples of silence after which it has settled.
  virtual std::ptrdiff_t memory() const = 0;
  virtual void forget() noexcept = 0;
  // `in`: 1 to STRIP columns, zeros after them up to whole vectors; `out` has as much room.
  virtual void play(const float* in, Rows out, int columns) noexcept = 0;
};

class WaveNetPlayer final : public Player {
 public:
  // A `condition` takes the place of the input as the condition of every layer. Throws
  // std::invalid_argument for weights that do not fit, or a condition of another size.
  WaveNetPlayer(const Network& network, const float* weights, std::ptrdiff_t weight_count,
                bool players_tanh, const Path& path, std::unique_ptr<Player> condition = nullptr);

  int outputs() const override { return outputs_; }
  std::ptrdiff_t memory() const override;
  void forget() noexcept override;
  void play(const float* in, Rows out, int columns) noexcept override;

 private:
  Ring ring(int rows, std::ptrdiff_t history);
  Rows scratch(int rows);
  void plan_array(const Network& network, int number, bool players_tanh);

  const Path& path_;
  std::unique_ptr<Player> condition_;
  std::ptrdiff_t receptive_field_;
  int outputs_;
  float head_scale_;
  Packing packing_;
  std::vector<std::vector<StreamLayer>> layers_;
  std::vector<StreamArray> arrays_;
  std::vector<Floats> memory_;
  StreamNet net_{};
};

// Plays blocks of any length through a player of one output.
class Stream {
 public:
  explicit Stream(std::unique_ptr<Player> player);

  // From silence, as a player begins.
  void reset() noexcept;

  enum class Result { done, busy, not_finite };

  // Neither allocates nor locks nor throws. `busy`: another thread is in a call. `not_finite`: so
  // is the input, and nothing was played.
  Result process(const float* in, float* out, std::ptrdiff_t count) noexcept;

  std::ptrdiff_t memory() const { return player_->memory(); }

 private:
  void play(const float* in, float* out, std::ptrdiff_t count) noexcept;

  std::unique_ptr<Player> player_;
  Floats in_, out_;
  std::atomic_flag playing_ = ATOMIC_FLAG_INIT;
};

}  // namespace ampscope
