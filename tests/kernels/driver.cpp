// The kernels without Python: what a sanitizer should watch, and allocations counted.
//
//   driver stress               every path over many shapes, cuttings and refusals
//   driver allocations BLOCKS   how many there are in so many calls of a stream's `process`
//
// Built by profiler/kernels/CMakeLists.txt with -DAMPSCOPE_DRIVER=ON, run by test_driver.py.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "convolver.h"
#include "live.h"
#include "lstm.h"
#include "network.h"
#include "pass.h"
#include "paths.h"
#include "stream.h"

using namespace ampscope;

// ---- a count of allocations ------------------------------------------------------------------

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)

static std::atomic<long> allocations{0};

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

// operator new ends here as well.
void* malloc(std::size_t size) {
  allocations++;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  allocations++;
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) {
  allocations++;
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  allocations++;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  allocations++;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** result, std::size_t alignment, std::size_t size) {
  allocations++;
  *result = __libc_memalign(alignment, size);
  return *result ? 0 : 12;
}
void free(void* memory) {
  if (memory) allocations++;
  __libc_free(memory);
}
}

#define COUNTED 1
#endif

// ---- shapes and signals ----------------------------------------------------------------------

static std::mt19937 generator(1);

static int between(int least, int most) {
  return std::uniform_int_distribution<int>(least, most)(generator);
}

static std::vector<float> noise(std::ptrdiff_t count, float size = 0.3f) {
  std::normal_distribution<float> normal(0.0f, size);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

static LayerArray array_of(int inputs, int channels, int head, std::vector<int> dilations) {
  LayerArray array;
  array.input_size = inputs;
  array.channels = channels;
  array.head_size = head;
  array.kernel_sizes.assign(dilations.size(), 3);
  array.dilations = std::move(dilations);
  return array;
}

static std::vector<LayerArray> a1(int channels) {
  std::vector<int> octaves, others{128, 256, 512};
  for (int octave = 0; octave < 10; octave++) octaves.push_back(1 << octave);
  others.insert(others.end(), octaves.begin(), octaves.end());
  octaves.resize(7);
  return {array_of(1, channels, channels / 2, octaves),
          array_of(channels, channels / 2, 1, others)};
}

static std::vector<LayerArray> a2(int channels) {
  const std::vector<int> seven{1, 3, 7, 17, 41, 101, 239};
  LayerArray array = array_of(1, channels, 1, seven);
  array.dilations.insert(array.dilations.end(), seven.begin(), seven.end());
  array.dilations.insert(array.dilations.end(), {1, 13});
  array.dilations.insert(array.dilations.end(), seven.begin(), seven.end());
  array.kernel_sizes.assign(23, 6);
  array.kernel_sizes[14] = array.kernel_sizes[15] = 15;
  array.activation = "LeakyReLU";
  array.head_taps = 16;
  array.head_bias = true;
  return {array};
}

static std::vector<LayerArray> any_shape() {
  std::vector<LayerArray> arrays;
  int inputs = 1, channels = between(1, 18);
  for (int left = between(1, 3); left > 0; left--) {
    const int next = left == 1 ? 1 : between(1, 18);
    std::vector<int> dilations;
    for (int layers = between(1, 3); layers > 0; layers--) dilations.push_back(between(1, 30));
    LayerArray array = array_of(inputs, channels, next, dilations);
    for (int& taps : array.kernel_sizes) taps = between(1, 15);
    array.gated = between(0, 1) == 1;
    array.activation = between(0, 2) == 0 ? "LeakyReLU" : "Tanh";
    array.head_taps = between(0, 2) == 0 ? between(1, 16) : 1;
    array.head_bias = between(0, 1) == 1;
    arrays.push_back(array);
    inputs = channels;
    channels = next;
  }
  return arrays;
}

static std::unique_ptr<Stream> stream_of(const Network& network, const std::vector<float>& weights,
                                         const Path& path) {
  return std::make_unique<Stream>(std::make_unique<WaveNetPlayer>(
      network, weights.data(), static_cast<std::ptrdiff_t>(weights.size()), false, path));
}

static std::unique_ptr<Player> lstm_of(const Lstm& shape, bool players_tanh, const Path& path) {
  const std::vector<float> weights = noise(shape.weight_count());
  return std::make_unique<LstmPlayer>(shape, weights.data(), shape.weight_count(), players_tanh,
                                      path);
}

// A WaveNet whose condition is an LSTM of three outputs.
static std::unique_ptr<Stream> nested(const Path& path) {
  LayerArray array = array_of(1, 5, 1, {1, 9, 30});
  array.condition_size = 3;
  const Network network({array});
  const std::vector<float> weights = noise(network.weight_count());
  return std::make_unique<Stream>(
      std::make_unique<WaveNetPlayer>(network, weights.data(), network.weight_count(), false, path,
                                      lstm_of(Lstm(7, 2, 3, 100), false, path)));
}

// ---- stress ----------------------------------------------------------------------------------

static void expect(bool truth, const char* what) {
  if (truth) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::exit(1);
}

static void expect_refusal(const std::function<void()>& call, const char* what) {
  try {
    call();
  } catch (const std::invalid_argument&) {
    return;
  }
  std::fprintf(stderr, "not refused: %s\n", what);
  std::exit(1);
}

// A signal through a stream, in blocks of any length.
static std::vector<float> in_blocks(Stream& stream, const std::vector<float>& signal) {
  std::vector<float> played(signal.size());
  for (std::size_t done = 0; done < signal.size();) {
    const std::size_t block =
        std::min(signal.size() - done, static_cast<std::size_t>(between(1, 200)));
    // of exactly its length, so that a sample read or written beyond it is noticed
    const std::vector<float> in(signal.begin() + done, signal.begin() + done + block);
    std::vector<float> out(block);
    expect(stream.process(in.data(), out.data(), static_cast<std::ptrdiff_t>(block)) ==
               Stream::Result::done,
           "a block is played");
    std::copy(out.begin(), out.end(), played.begin() + done);
    done += block;
  }
  return played;
}

// A stream that keeps a state without end begins anew, and plays the same in any blocks.
static void partitions(Stream& stream) {
  const std::vector<float> signal = noise(500);
  const std::vector<float> once = in_blocks(stream, signal);
  stream.reset();
  const std::vector<float> again = in_blocks(stream, signal);
  for (std::size_t t = 0; t < signal.size(); t++)
    expect(std::isfinite(once[t]) && std::fabs(once[t] - again[t]) < 1e-5f, "blocks do not matter");
}

// Streaming, in any blocks, gives what the forward pass gives; the way back is walked as well.
static void compare(const Network& network, const Path& path, int outputs, int threads) {
  const std::vector<float> weights = noise(network.weight_count());
  const int segments = 3;
  Pass pass(network, outputs, segments, threads, path);
  const std::vector<float> x = noise(segments * pass.inputs());
  std::vector<float> y(static_cast<std::size_t>(segments * outputs));
  std::vector<float> gradient(weights.size());
  pass.forward(weights.data(), network.weight_count(), x.data(), y.data());
  pass.backward(y.data(), gradient.data());
  for (float value : gradient) expect(std::isfinite(value), "the gradient is finite");

  const std::unique_ptr<Stream> stream = stream_of(network, weights, path);
  const std::vector<float> signal(x.begin(), x.begin() + pass.inputs());
  const std::vector<float> played = in_blocks(*stream, signal);
  float largest = 1.0f;
  for (int t = 0; t < outputs; t++) largest = std::max(largest, std::fabs(y[t]));
  for (int t = 0; t < outputs; t++)
    expect(std::fabs(y[t] - played[signal.size() - outputs + t]) < 1e-4f * largest,
           "streaming is the forward pass");
}

static void refusals() {
  const Path& path = path_named("portable");
  const Network network(a1(2));
  std::vector<float> weights = noise(network.weight_count());
  expect_refusal([] { path_named("abacus"); }, "an unknown path");
  expect_refusal([] { Network({}); }, "no array");
  expect_refusal([] { Network({array_of(1, 0, 1, {1})}); }, "no channel");
  expect_refusal([] { Network({array_of(1, 1, 1, {std::numeric_limits<int>::max()})}); }, "a leap");
  expect_refusal([] { Network({array_of(1, 3, 2, {1}), array_of(3, 3, 1, {1})}); }, "a broken chain");
  expect_refusal([&] { Pass(network, 0, 1, 1, path); }, "no output");
  expect_refusal([&] { Pass(network, 1 << 24, 1 << 16, 1, path); }, "all memory");
  Pass pass(network, 10, 1, 1, path);
  std::vector<float> x(static_cast<std::size_t>(pass.inputs())), y(10), gradient(weights.size());
  expect_refusal([&] { pass.backward(y.data(), gradient.data()); }, "backward first");
  expect_refusal([&] { pass.forward(weights.data(), 3, x.data(), y.data()); }, "three weights");
  x[4] = std::numeric_limits<float>::quiet_NaN();
  expect_refusal(
      [&] { pass.forward(weights.data(), network.weight_count(), x.data(), y.data()); }, "a NaN");
  const std::unique_ptr<Stream> stream = stream_of(network, weights, path);
  expect(stream->process(x.data(), x.data(), 10) == Stream::Result::not_finite, "a NaN is refused");
  expect(stream->process(nullptr, nullptr, 0) == Stream::Result::done, "no sample is no trouble");
  weights[0] = std::numeric_limits<float>::infinity();
  expect_refusal([&] { stream_of(network, weights, path); }, "an infinite weight");
  expect_refusal([] { Lstm(0, 1, 1, 1); }, "no unit");
  expect_refusal([] { Lstm(1024, 64, 1, 1); }, "more weights than memory");
  const Lstm shape(8, 1, 2, 1);
  expect_refusal([&] { LstmPlayer(shape, weights.data(), 3, false, path); }, "three weights");
  expect_refusal([&] { Stream(lstm_of(shape, false, path)); }, "two outputs");
}

// Numbers as large as they come overflow, and do no more than that.
static void overflow(const Path& path) {
  const Network network(a2(3));
  const std::vector<float> weights(static_cast<std::size_t>(network.weight_count()), 3e38f);
  const std::unique_ptr<Stream> stream = stream_of(network, weights, path);
  std::vector<float> signal(1000, 3e38f);
  stream->process(signal.data(), signal.data(), 1000);

  // What a state has once become it would stay: it is bounded by its curves.
  const Lstm shape(9, 2, 1, 1);
  std::vector<float> large(static_cast<std::size_t>(shape.weight_count()), 3e38f);
  std::fill(large.end() - 10, large.end(), 1.0f);  // the head
  Stream lstm(std::make_unique<LstmPlayer>(shape, large.data(), shape.weight_count(), false, path));
  std::vector<float> out(1000);
  lstm.process(std::vector<float>(1000, 3e38f).data(), out.data(), 1000);
  for (float value : out) expect(std::isfinite(value), "a state never overflows");
}

// ---- live playing ----------------------------------------------------------------------------

static std::shared_ptr<Convolver> a_cabinet(std::ptrdiff_t taps) {
  return std::make_shared<Convolver>(noise(taps, 0.02f).data(), taps);
}

static Voice a_voice(const Path& path, std::ptrdiff_t taps) {
  const Network network(a1(2));
  return {stream_of(network, noise(network.weight_count(), 0.05f), path), a_cabinet(taps)};
}

// A driver of any block sizes and channels, and an owner who keeps switching.
static void play_live(const Path& path) {
  Live live({48000, 3, 1, 2, {0, 1}}, 0.9f, 0.01);
  for (int block = 0; block < 400; block++) {
    if (block % 40 == 0) live.play(a_voice(path, between(1, 500)));
    if (block % 7 == 0) live.free_old();
    live.set_gains(0.1f * static_cast<float>(between(0, 20)), 0.5f);
    const std::ptrdiff_t frames = between(0, 200);
    const std::vector<float> in = noise(3 * frames);
    std::vector<float> out(static_cast<std::size_t>(2 * frames), 7.0f);
    live.callback(in.data(), out.data(), frames, 0);
    for (float sample : out) expect(std::fabs(sample) <= 0.9f, "nothing is above the ceiling");
  }
  expect(live.ending() == Live::Ending::none, "nothing ended it");
  live.callback(nullptr, nullptr, 64, 0);
  live.fade_out();
  std::vector<float> out(2 * 960);
  live.callback(nullptr, out.data(), 960, 0);
  expect(live.silent() && out.back() == 0.0f, "it has faded out");
  live.play(a_voice(path, 3));  // that is never taken
  expect_refusal([] { Live({48000, 1, 1, 1, {0}}, 1.0f, 0.0); }, "an input that is not there");
  expect_refusal([] { Convolver(nullptr, 0); }, "no impulse response");
  expect_refusal([&] { live.play({}); }, "a voice without a network");
}

static int stress() {
  for (const Path* path : usable_paths()) {
    compare(Network(a1(4)), *path, between(1, 300), 2);
    compare(Network(a2(3)), *path, between(1, 300), 2);
    for (int times = 0; times < 25; times++)
      compare(Network(any_shape()), *path, between(1, 300), between(1, 4));
    for (int hidden : {1, 7, 16, 24, 33, 64})
      for (int layers : {1, 3}) {
        Stream stream(lstm_of(Lstm(hidden, layers, 1, 50), layers == 3, *path));
        partitions(stream);
      }
    partitions(*nested(*path));
    overflow(*path);
    play_live(*path);
    std::printf("%s: no complaint\n", path->name);
  }
  refusals();
  return 0;
}

// ---- allocations -----------------------------------------------------------------------------

static int count_allocations(long blocks) {
#ifdef COUNTED
  const Path& path = *usable_paths().front();
  std::vector<std::unique_ptr<Stream>> streams;
  for (const Network& network : {Network(a1(4)), Network(a2(3))})
    streams.push_back(stream_of(network, noise(network.weight_count()), path));
  streams.push_back(std::make_unique<Stream>(lstm_of(Lstm(8, 1, 1, 24000), false, path)));
  streams.push_back(nested(path));
  const std::vector<float> signal = noise(128);
  float out[128];
  long counted = 0;
  for (const std::unique_ptr<Stream>& stream : streams) {
    const long before = allocations;
    for (long block = 0; block < blocks / 4; block++)
      stream->process(signal.data(), out, 1 + block % 128);
    stream->reset();
    counted += allocations - before;
  }
  Live live({48000, 1, 0, 1, {0}}, 1.0f, 0.0);
  live.play(a_voice(*usable_paths().front(), 3000));
  live.callback(signal.data(), out, 128, 0);
  live.play(a_voice(*usable_paths().front(), 3000));
  const long before = allocations;  // while one voice takes over from another
  for (long block = 0; block < blocks / 20; block++)
    live.callback(signal.data(), out, 1 + block % 128, 0);
  counted += allocations - before;
  expect(!live.switching(), "the other voice has taken over");
  expect(allocations > 0, "allocations are counted at all");
  std::printf("%ld allocations in %ld blocks\n", counted, blocks);
  return counted == 0 ? 0 : 1;
#else
  (void)blocks;
  std::fprintf(stderr, "this build cannot count allocations\n");
  return 2;
#endif
}

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  if (what == "stress") return stress();
  if (what == "allocations" && count > 2) return count_allocations(std::atol(arguments[2]));
  std::fprintf(stderr, "usage: driver stress | driver allocations BLOCKS\n");
  return 2;
}
