// A network played live: all that happens in an audio driver's callback.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "convolver.h"
#include "memory.h"
#include "stream.h"

namespace ampscope {

// What is played between the gains. Nobody else may use its parts.
struct Voice {
  std::shared_ptr<Stream> stream;
  std::shared_ptr<Convolver> convolver;  // behind it; null for none
  std::uint64_t number = 0;              // given by whom it is handed to
};

// The channels of the driver's interleaved buffers, from 0.
struct Wiring {
  int sample_rate, inputs, input, outputs;
  std::vector<int> to;  // the outputs that sound
};

// Of one callback of `frames` samples, its share of the time that they last.
struct Load {
  double mean, high, highest;  // high: 999 of 1000 callbacks are below
};

// Two threads meet here: the driver's, in `callback`, and one that owns it, in all else. What they
// share is atomic, and neither ever waits for the other: a voice is handed over through one pointer
// and handed back through another, and freed by the owner.
//
// A switch is not heard: the new voice first listens, muted, until it knows as much of the past as
// it needs, then fades in over the old one. Both are played meanwhile, which takes twice the time.
class Live {
 public:
  enum class Ending { none, input_not_finite, output_not_finite, clipped, offset };

  // The sound rises by 20 dB/s to its level over `rise_seconds`; nothing above `ceiling` comes out.
  // Throws std::invalid_argument for channels that there are not.
  Live(const Wiring& wiring, float ceiling, double rise_seconds);
  ~Live();
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  // ---- the owner's ---------------------------------------------------------------------------

  void play(Voice voice);  // takes the place of one that has not begun yet
  void free_old();         // voices that sound no more
  bool switching() const { return sounding_ != wanted_; }  // a voice has not taken over yet
  void set_gains(float in, float out);
  void set_muted(bool muted) { muted_ = muted; }
  // Before the stream starts: play this once instead of any voice, and keep what comes in.
  void measure(const float* probe, std::ptrdiff_t count);
  std::vector<float> measured() const { return recorded_; }
  void fade_out() { fading_ = true; }

  const Wiring& wiring() const { return wiring_; }
  bool silent() const { return silent_; }  // it has faded out, or ended by itself
  Ending ending() const { return ending_; }
  std::uint64_t blocks() const { return blocks_; }
  std::uint64_t frames() const { return frames_; }
  std::uint64_t late() const { return late_; }  // callbacks that took longer than they last
  std::uint64_t overloaded() const { return overloaded_; }  // of processor time: of our making
  std::uint64_t flagged() const { return flagged_; }  // with an xrun by the driver's own account
  std::uint64_t clipped() const { return clipped_; }  // samples that were cut off at the ceiling
  int least_frames() const { return least_frames_; }
  int most_frames() const { return most_frames_; }
  float take_input_peak() { return input_peak_.exchange(0.0f); }  // since it was last taken
  float take_output_peak() { return output_peak_.exchange(0.0f); }
  Load load() const;

  // ---- the driver's --------------------------------------------------------------------------

  // Neither allocates nor locks nor throws. Buffers may be null.
  void callback(const float* in, float* out, std::ptrdiff_t frames, unsigned long flags) noexcept;

 private:
  static constexpr int PIECE = 64;
  static constexpr int LOADS = 400;  // steps of half a per cent

  // A gain that moves without a click, and stands still once it is there.
  struct Gain {
    float now, step;
    void apply(float* samples, int count, float target) noexcept;
  };

  void take_next_voice() noexcept;
  void piece(const float* in, float* out, int count) noexcept;
  void sound(Voice& voice, const float* in, float* out, int count) noexcept;
  bool guard(float* samples, int count) noexcept;
  void end(Ending why) noexcept;
  void note_load(double share, double computed) noexcept;

  const Wiring wiring_;
  const float ceiling_;

  std::atomic<Voice*> next_{nullptr}, old_{nullptr};
  std::atomic<std::uint64_t> sounding_{0};  // number of the voice that sounds alone
  std::atomic<float> in_gain_{1.0f}, out_gain_{1.0f};
  std::atomic<bool> muted_{false}, fading_{false}, silent_{false};
  std::atomic<Ending> ending_{Ending::none};
  std::atomic<std::uint64_t> blocks_{0}, frames_{0}, late_{0}, overloaded_{0}, flagged_{0}, clipped_{0};
  std::atomic<int> least_frames_{0}, most_frames_{0};
  std::atomic<float> input_peak_{0.0f}, output_peak_{0.0f};
  std::atomic<double> load_sum_{0.0}, load_highest_{0.0};
  std::array<std::atomic<std::uint32_t>, LOADS + 1> loads_{};

  std::uint64_t wanted_ = 0;  // the owner's own: number of the last voice

  // the driver's own
  Voice *current_ = nullptr, *coming_ = nullptr;
  std::ptrdiff_t listening_ = 0;  // samples that the coming voice still only hears
  int faded_ = 0;                 // samples of the cross-fade
  const int fade_;                // samples of a fade
  Gain in_, out_, mute_;
  float rise_, rise_ratio_;  // of the level, and a sample's
  float fall_ = 1.0f;
  double offset_sum_ = 0.0;
  int tick_ = 0, tick_clipped_ = 0, clipped_ticks_ = 0, offset_ticks_ = 0;
  Floats work_;  // four pieces

  std::vector<float> probe_, recorded_;
  std::size_t probed_ = 0;
};

// A `PaStreamCallback` (portaudio.h), whose user data is a `Live`.
extern "C" int ampscope_live(const void* in, void* out, unsigned long frames, const void* time,
                             unsigned long flags, void* live) noexcept;

}  // namespace ampscope
