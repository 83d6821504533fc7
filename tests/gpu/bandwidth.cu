// Runs the kernels that a step's bytes go through at decode shapes and prints the share of the bus
// that they reach. Weights, entries and keys cycle through buffers much larger than the L2, or the
// figures would lie.

#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/indexer/index_score.h"
#include "kernels/linear/linear.h"
#include "tests/gpu/decode_layer.h"

namespace {

using namespace sparkspan::kernels;

constexpr std::size_t kBufferBytes = std::size_t{1} << 30;
constexpr int kRepeats = 50;

void Check(int error) {
  if (error != 0) {
    std::fprintf(stderr, "%s\n", cudaGetErrorString(static_cast<cudaError_t>(error)));
    std::exit(1);
  }
}

struct Shape {
  const char* name;
  WeightFormat weight;
  ActivationFormat activation;
  int n;
  int k;
};

// Two ranks' share of the model's larger products.
constexpr Shape kShapes[] = {
    {"wq_a and wkv", WeightFormat::kE4m3, ActivationFormat::kE4m3, 1536, 4096},
    {"wq_b", WeightFormat::kE4m3, ActivationFormat::kE4m3, 16384, 1024},
    {"wo_a", WeightFormat::kE4m3, ActivationFormat::kBf16, 4096, 4096},
    {"wo_b", WeightFormat::kE4m3, ActivationFormat::kE4m3, 4096, 4096},
    {"compressor", WeightFormat::kBf16, ActivationFormat::kBf16, 2048, 4096},
    {"expert w1", WeightFormat::kE2m1, ActivationFormat::kE4m3, 16384, 4096},
    {"head", WeightFormat::kBf16, ActivationFormat::kBf16, 64640, 4096},
};

// Microseconds of launch(repeat), over kRepeats of them.
template <class Launch>
double Microseconds(const Launch& launch) {
  cudaEvent_t begin, end;
  Check(cudaEventCreate(&begin));
  Check(cudaEventCreate(&end));
  for (int repeat = -5; repeat < kRepeats; ++repeat) {
    if (repeat == 0) {
      Check(cudaEventRecord(begin));
    }
    Check(launch(repeat + 5));
  }
  Check(cudaEventRecord(end));
  Check(cudaEventSynchronize(end));
  float milliseconds = 0;
  Check(cudaEventElapsedTime(&milliseconds, begin, end));
  return 1e3 * milliseconds / kRepeats;
}

void Print(const char* name, int rows, double us, double bytes, double bus) {
  const double rate = bytes / us * 1e-3;
  std::printf("%s,%d,%.1f,%.1f,%.2f\n", name, rows, us, rate, rate / bus);
}

// Device memory of `count` elements, every byte `fill`; never given back: the program ends.
template <class T>
T* Allocate(std::size_t count, int fill = 0) {
  T* memory = nullptr;
  Check(cudaMalloc(&memory, count * sizeof(T)));
  Check(cudaMemset(memory, fill, count * sizeof(T)));
  return memory;
}
std::int32_t* Copy(const std::vector<std::int32_t>& values) {
  auto* memory = Allocate<std::int32_t>(values.size());
  Check(cudaMemcpy(memory, values.data(), values.size() * 4, cudaMemcpyHostToDevice));
  return memory;
}

// Elements of e4m3, bf16 and, as a scale, ue8m0 that are small and finite.
constexpr int kFill = 0x38;

void MeasureProducts(unsigned char* buffer, double bus) {
  auto* x = Allocate<std::uint16_t>(96 * 4096, kFill);
  auto* scales = Allocate<std::uint8_t>(96 * 32, 127);
  auto* out = Allocate<float>(96 * 65536);
  for (const Shape& shape : kShapes) {
    for (const int rows : {1, 6, 16, 36, 96}) {
      LinearArguments arguments{};
      arguments.weight_format = shape.weight;
      arguments.activation_format = shape.activation;
      arguments.output_format = OutputFormat::kFloat;
      arguments.n = shape.n;
      arguments.k = shape.k;
      arguments.activation = x;
      arguments.activation_scale = scales;
      arguments.groups = 1;
      arguments.output = out;
      arguments.rows = rows;
      const std::size_t bytes = PreparedBytes(shape.weight, shape.n, shape.k);
      const std::size_t copies = (kBufferBytes - bytes) / bytes;
      arguments.weight_scale = buffer + copies * bytes;
      const double us = Microseconds([&](int repeat) {
        arguments.weight = buffer + static_cast<std::size_t>(repeat) % copies * bytes;
        return LaunchLinear(arguments, nullptr);
      });
      Print(shape.name, rows, us, static_cast<double>(bytes), bus);
    }
  }
}

// The launches of a layer as a step has them, each by itself and one after the other.
void MeasureLayer(double bus) {
  for (const int rows : {1, 6, 36}) {
    for (const int context : {4096, 65536}) {
      DecodeLayer layer(rows, context);
      layer.StartAll(nullptr);  // so that each launch finds what the one before leaves
      double all = 0;
      for (const DecodeLayer::Step& step : layer.steps()) {
        const double us = Microseconds([&](int) {
          layer.Start(step, nullptr);
          return 0;
        });
        const double bytes = layer.BytesOf(step);
        all += bytes;
        Print(("layer at " + std::to_string(context) + ": " + step.name).c_str(),
              rows,
              us,
              bytes,
              bus);
      }
      const double us = Microseconds([&](int) {
        layer.StartAll(nullptr);
        return 0;
      });
      Print(("layer at " + std::to_string(context)).c_str(), rows, us, all, bus);
    }
  }
}

// A million tokens: 262144 index keys and 8192 entries of ratio 128, one row.
void MeasureCache(unsigned char* buffer, double bus) {
  constexpr int kKeys = 262144, kHeads = 64, kEntries = 8192, kAttentionHeads = 32;
  constexpr int kKeyCopies = kBufferBytes / (std::size_t{kKeys} * kIndexKeyBytes);
  constexpr int kEntryCopies = kBufferBytes / (std::size_t{kEntries} * kEntryBytes);
  const std::int32_t* visible = Copy({kKeys});
  const std::int32_t* page = Copy({0});
  const std::int32_t* entries = Copy({kEntries});
  const std::int32_t* none = Copy({0});
  std::vector<std::int32_t> all(kEntries);
  std::iota(all.begin(), all.end(), 0);
  const std::int32_t* slots = Copy(all);
  auto* codes = Allocate<std::uint8_t>(kHeads * kIndexCodeBytes, kFill);
  auto* scales = Allocate<std::uint8_t>(kHeads * kIndexScaleBytes, 120);
  auto* weights = Allocate<float>(kHeads);
  auto* scores = Allocate<float>(kKeys);
  double us = Microseconds([&](int repeat) {
    const IndexPages pages{
        buffer + std::size_t{kKeys} * kIndexKeyBytes * (repeat % kKeyCopies), 0, kKeys};
    return LaunchIndexScore(
        {codes, scales, weights, 1.0F, 1, kHeads, pages, page, 1, visible, scores, kKeys}, nullptr);
  });
  Print("index scores of a million tokens", 1, us, double{kKeys} * kIndexKeyBytes, bus);

  AttentionArguments a{};
  a.q = Allocate<std::uint16_t>(kAttentionHeads * kHeadDim, kFill);
  a.window_slots = none;
  a.window_count = none;
  a.compressed_slots = slots;
  a.page_table = page;
  a.pages_max = 1;
  a.compressed_count = entries;
  a.compressed_max = kEntries;
  a.sink = Allocate<float>(kAttentionHeads);
  a.rope = Allocate<float>(kRopeDim);
  a.rows = 1;
  a.heads = kAttentionHeads;
  a.partial = Allocate<float>(std::size_t{kSplitsMax} * kAttentionHeads * kHeadDim);
  a.partial_stats = Allocate<float>(kSplitsMax * kAttentionHeads * 2);
  a.out = Allocate<std::uint16_t>(kAttentionHeads * kHeadDim);
  us = Microseconds([&](int repeat) {
    a.compressed = {
        buffer + std::size_t{kEntries} * kEntryBytes * (repeat % kEntryCopies), 0, kEntries};
    a.window = a.compressed;
    return LaunchAttention(a, nullptr);
  });
  Print("attention, ratio 128 at a million tokens", 1, us, double{kEntries} * kEntryBytes, bus);
}

}  // namespace

// Argument: the bus in GB/s, for the share (232 on a DGX Spark).
int main(int argc, char** argv) {
  const double bus = argc > 1 ? std::atof(argv[1]) : 232;
  cudaDeviceProp device{};
  Check(cudaGetDeviceProperties(&device, 0));
  if (kBufferBytes < 4 * static_cast<std::size_t>(device.l2CacheSize)) {
    std::fprintf(stderr, "an L2 of %d bytes: figures would be the cache's\n", device.l2CacheSize);
    return 1;
  }
  auto* buffer = Allocate<unsigned char>(kBufferBytes + (std::size_t{1} << 27), kFill);
  std::printf("kernel,rows,microseconds,gigabytes_per_second,share_of_bus\n");
  MeasureProducts(buffer, bus);
  MeasureLayer(bus);
  MeasureCache(buffer, bus);
  return 0;
}
