#include "live.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <string>
#include <utility>

#include "network.h"
#include "paths.h"

namespace ampscope {
namespace {

constexpr double FADE_SECONDS = 0.010;
constexpr double CROSS_FADE_SECONDS = 0.020;
constexpr double GAIN_SECONDS = 0.010;     // from nothing to full
constexpr double LISTEN_SECONDS = 0.25;    // at most: two networks are played meanwhile
constexpr double RISE_DB_PER_SECOND = 20.0;
constexpr double TICK_SECONDS = 0.010;
constexpr int CLIPPED_SAMPLES = 3;         // of a tick, from which on it is clipped
constexpr int CLIPPED_TICKS = 50;          // in a row: half a second, as a howl is
constexpr int OFFSET_TICKS = 100;          // over which the mean is taken
constexpr double LARGEST_OFFSET = 0.1;     // -20 dBFS
constexpr unsigned long XRUN_FLAGS = 0xF;  // over- and underflow, of input and output

int samples(double seconds, int rate) {
  return std::max(1, static_cast<int>(std::lround(seconds * rate)));
}

int checked_rate(int rate) {
  if (rate < 1) throw std::invalid_argument("sample_rate is " + std::to_string(rate));
  return rate;
}

// Of this thread; what a system or another program took meanwhile is not in it.
double processor_seconds() noexcept {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
#else
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
#endif
}

template <class T>
void raise_to(std::atomic<T>& highest, T value) noexcept {
  if (value > highest.load(std::memory_order_relaxed))
    highest.store(value, std::memory_order_relaxed);
}

}  // namespace

Live::Live(const Wiring& wiring, float ceiling, double rise_seconds)
    : wiring_(wiring),
      ceiling_(ceiling),
      fade_(samples(CROSS_FADE_SECONDS, checked_rate(wiring.sample_rate))),
      work_(4 * PIECE) {
  const auto expect = [](bool truth, const std::string& what) {
    if (!truth) throw std::invalid_argument(what);
  };
  expect(wiring.input >= 0 && wiring.input < wiring.inputs,
         "there are " + std::to_string(wiring.inputs) + " inputs, not " +
             std::to_string(wiring.input + 1));
  expect(!wiring.to.empty(), "no output is to sound");
  for (const int output : wiring.to)
    expect(output >= 0 && output < wiring.outputs,
           "there are " + std::to_string(wiring.outputs) + " outputs, not " +
               std::to_string(output + 1));
  expect(ceiling > 0.0f && ceiling <= 1.0f, "the ceiling is beyond 0 to 1");
  expect(rise_seconds >= 0.0 && rise_seconds <= 60.0, "a rise beyond 0 to 60 s");
  const float step = static_cast<float>(1.0 / samples(GAIN_SECONDS, wiring.sample_rate));
  in_ = out_ = mute_ = {1.0f, step};
  rise_ = static_cast<float>(std::pow(10.0, -rise_seconds * RISE_DB_PER_SECOND / 20.0));
  rise_ratio_ =
      static_cast<float>(std::pow(10.0, RISE_DB_PER_SECOND / 20.0 / wiring.sample_rate));
}

Live::~Live() {
  delete next_.load();
  delete old_.load();
  delete current_;
  delete coming_;
}

void Live::play(Voice voice) {
  if (!voice.stream) throw std::invalid_argument("a voice without a network");
  voice.number = ++wanted_;
  delete next_.exchange(new Voice(std::move(voice)));
  free_old();
}

void Live::free_old() { delete old_.exchange(nullptr); }

void Live::set_gains(float in, float out) {
  in_gain_ = in;
  out_gain_ = out;
}

void Live::measure(const float* probe, std::ptrdiff_t count) {
  check_finite(probe, count, "probe");
  probe_.assign(probe, probe + count);
  recorded_.assign(probe_.size(), 0.0f);
}

Load Live::load() const {
  std::array<std::uint32_t, LOADS + 1> counts;
  std::uint64_t all = 0, seen = 0;
  for (int step = 0; step <= LOADS; step++) all += counts[step] = loads_[step];
  const double highest = load_highest_;
  double high = highest;
  for (int step = 0; step < LOADS; step++) {
    seen += counts[step];
    if (static_cast<double>(seen) < 0.999 * static_cast<double>(all)) continue;
    high = std::min(highest, (step + 1) / 200.0);
    break;
  }
  return {all ? load_sum_ / static_cast<double>(all) : 0.0, high, highest};
}

// ---- in the driver's callback ----------------------------------------------------------------

void Live::callback(const float* in, float* out, std::ptrdiff_t frames,
                    unsigned long flags) noexcept {
  const auto began = std::chrono::steady_clock::now();
  const double computed_before = processor_seconds();
  const FlushDenormals flushing;
  if (out)
    std::memset(out, 0, static_cast<std::size_t>(frames * wiring_.outputs) * sizeof(float));
  if (frames > 0 && !silent_) {
    take_next_voice();
    for (std::ptrdiff_t done = 0; done < frames && !silent_; done += PIECE) {
      const int count = static_cast<int>(std::min<std::ptrdiff_t>(PIECE, frames - done));
      piece(in ? in + done * wiring_.inputs : nullptr, out ? out + done * wiring_.outputs : nullptr,
            count);
    }
  }
  const int size = static_cast<int>(frames);
  if (blocks_ == 0 || size < least_frames_) least_frames_ = size;
  raise_to(most_frames_, size);
  blocks_++;
  frames_ += static_cast<std::uint64_t>(frames);
  if (flags & XRUN_FLAGS) flagged_++;
  if (frames > 0) {
    const double computed = processor_seconds() - computed_before;
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - began;
    const double blocks_a_second = wiring_.sample_rate / static_cast<double>(frames);
    note_load(taken.count() * blocks_a_second, computed * blocks_a_second);
  }
}

void Live::note_load(double share, double computed) noexcept {
  if (share > 1.0) late_++;
  if (computed > 1.0) overloaded_++;
  load_sum_ = load_sum_ + share;
  raise_to(load_highest_, share);
  loads_[static_cast<std::size_t>(std::min(200.0 * share, 1.0 * LOADS))]++;
}

// One at a time, and only while there is room to hand the old one back.
void Live::take_next_voice() noexcept {
  if (coming_ || old_.load()) return;
  coming_ = next_.exchange(nullptr);
  if (!coming_) return;
  const std::ptrdiff_t most = samples(LISTEN_SECONDS, wiring_.sample_rate);
  listening_ = current_ ? std::min(most, coming_->stream->memory()) : 0;
  faded_ = 0;
}

void Live::piece(const float* in, float* out, int count) noexcept {
  float *x = work_.data(), *y = x + PIECE, *z = y + PIECE;
  float highest = 0.0f;
  for (int t = 0; t < count; t++) {
    x[t] = in ? in[t * wiring_.inputs + wiring_.input] : 0.0f;
    highest = std::max(highest, std::fabs(x[t]));
  }
  if (!all_finite(x, count)) return end(Ending::input_not_finite);
  raise_to(input_peak_, highest);

  if (!probe_.empty()) {
    if (probed_ == probe_.size()) return end(Ending::none);
    for (int t = 0; t < count; t++) {
      const bool over = probed_ == probe_.size();
      y[t] = over ? 0.0f : probe_[probed_];
      if (!over) recorded_[probed_++] = x[t];
    }
  } else {
    in_.apply(x, count, in_gain_);
    if (current_)
      sound(*current_, x, y, count);
    else
      std::fill_n(y, count, 0.0f);
    if (coming_) {
      sound(*coming_, x, z, count);
      for (int t = 0; t < count; t++) {
        if (listening_ > 0) {
          listening_--;
          continue;
        }
        if (faded_ < fade_) faded_++;
        y[t] += static_cast<float>(faded_) / static_cast<float>(fade_) * (z[t] - y[t]);
      }
      if (faded_ == fade_) {
        old_ = current_;
        current_ = std::exchange(coming_, nullptr);
        sounding_ = current_->number;
      }
    }
    out_.apply(y, count, out_gain_);
    mute_.apply(y, count, muted_ ? 0.0f : 1.0f);
    for (int t = 0; t < count && rise_ < 1.0f; t++) {
      y[t] *= rise_;
      rise_ = std::min(1.0f, rise_ * rise_ratio_);
    }
  }
  if (!guard(y, count)) return;
  if (fading_ || ending_ != Ending::none) {
    const float step = static_cast<float>(1.0 / samples(FADE_SECONDS, wiring_.sample_rate));
    for (int t = 0; t < count; t++) {
      fall_ = std::max(0.0f, fall_ - step);
      y[t] *= fall_;
    }
    if (fall_ == 0.0f) silent_ = true;
  }
  highest = 0.0f;
  for (int t = 0; t < count; t++) highest = std::max(highest, std::fabs(y[t]));
  raise_to(output_peak_, highest);
  if (!out) return;
  for (const int channel : wiring_.to)
    for (int t = 0; t < count; t++) out[t * wiring_.outputs + channel] = y[t];
}

void Live::sound(Voice& voice, const float* in, float* out, int count) noexcept {
  voice.stream->process(in, out, count);
  if (voice.convolver) voice.convolver->process(out, out, count);
}

void Live::Gain::apply(float* samples, int count, float target) noexcept {
  for (int t = 0; t < count; t++) {
    if (now < target)
      now = std::min(target, now + step * std::max(1.0f, target));
    else if (now > target)
      now = std::max(target, now - step * std::max(1.0f, now));
    samples[t] *= now;
  }
}

// Cut off at the ceiling what is above it; false where nothing may sound.
bool Live::guard(float* samples_, int count) noexcept {
  if (!all_finite(samples_, count)) {
    end(Ending::output_not_finite);
    return false;
  }
  const int a_tick = samples(TICK_SECONDS, wiring_.sample_rate);
  for (int t = 0; t < count; t++) {
    float& sample = samples_[t];
    if (std::fabs(sample) > ceiling_) {
      sample = std::copysign(ceiling_, sample);
      tick_clipped_++;
      clipped_++;
    }
    offset_sum_ += sample;
    if (++tick_ < a_tick) continue;
    clipped_ticks_ = tick_clipped_ >= CLIPPED_SAMPLES ? clipped_ticks_ + 1 : 0;
    tick_ = tick_clipped_ = 0;
    if (clipped_ticks_ >= CLIPPED_TICKS) ending_ = Ending::clipped;
    if (++offset_ticks_ < OFFSET_TICKS) continue;
    if (std::fabs(offset_sum_) > LARGEST_OFFSET * OFFSET_TICKS * a_tick) ending_ = Ending::offset;
    offset_sum_ = 0.0;
    offset_ticks_ = 0;
  }
  return true;
}

// At once: what there is to be heard would hurt, or there is nothing.
void Live::end(Ending why) noexcept {
  ending_ = why;
  silent_ = true;
}

int ampscope_live(const void* in, void* out, unsigned long frames, const void*,
                  unsigned long flags, void* live) noexcept {
  static_cast<Live*>(live)->callback(static_cast<const float*>(in), static_cast<float*>(out),
                                     static_cast<std::ptrdiff_t>(frames), flags);
  return 0;  // paContinue: the owner stops the stream
}

}  // namespace ampscope
