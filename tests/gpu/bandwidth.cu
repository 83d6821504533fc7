// Runs the kernels that a step's bytes go through at decode shapes and prints the share of the bus
// that they reach. Weights cycle through a buffer much larger than the L2, or the figures would
// lie.

#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/hyper_connection/hyper_connection.h"
#include "kernels/indexer/index_score.h"
#include "kernels/linear/linear.h"
#include "kernels/moe/moe.h"

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

// Six rows whose choices touch twenty of 64 experts, as a verification does.
void MeasureExperts(unsigned char* buffer, double bus) {
  constexpr int kRows = 6, kChoices = 6, kExperts = 64, kTouched = 20, kHidden = 4096,
                kWidth = 1024;
  std::vector<std::int32_t> ids;
  for (int i = 0; i < kRows * kChoices; ++i) {
    ids.push_back((i / kChoices * 3 + i % kChoices) % kTouched * 3);
  }
  const std::int32_t* chosen = Copy(ids);
  auto* offsets = Allocate<std::int32_t>(kExperts + 1);
  auto* order = Allocate<std::int32_t>(ids.size());
  auto* active = Allocate<std::int32_t>(kExperts);
  auto* active_count = Allocate<std::int32_t>(1);
  Check(LaunchGrouping({chosen, kRows, kChoices, 0, kExperts, offsets, order, active, active_count},
                       nullptr));
  const Grouping grouping{offsets, order, active, active_count, kExperts};
  const std::size_t matrix = PreparedBytes(WeightFormat::kE2m1, kWidth, kHidden);
  auto* scale = Allocate<std::uint8_t>(
      kExperts * PreparedScaleBytes(WeightFormat::kE2m1, kWidth, kHidden), 120);
  auto* x = Allocate<std::uint8_t>(kRows * kHidden, kFill);
  auto* x_scale = Allocate<std::uint8_t>(kRows * kHidden / 128, 127);
  auto* t = Allocate<std::uint8_t>(ids.size() * kWidth, kFill);
  auto* t_scale = Allocate<std::uint8_t>(ids.size() * kWidth / 128, 127);
  auto* y = Allocate<float>(ids.size() * kHidden);
  const GateUpArguments up{WeightFormat::kE2m1,
                           buffer,
                           scale,
                           buffer + kExperts * matrix,
                           scale,
                           kHidden,
                           kWidth,
                           grouping,
                           x,
                           x_scale,
                           nullptr,
                           10.0F,
                           kRows,
                           kChoices,
                           t,
                           t_scale};
  const DownArguments down{WeightFormat::kE2m1,
                           buffer,
                           scale,
                           kHidden,
                           kWidth,
                           grouping,
                           t,
                           t_scale,
                           kRows,
                           kChoices,
                           y};
  const double each = kTouched * static_cast<double>(matrix) * 17 / 16;  // with scales
  Print("experts, gate and up",
        kRows,
        Microseconds([&](int) { return LaunchGateUp(up, nullptr); }),
        2 * each,
        bus);
  Print("experts, down",
        kRows,
        Microseconds([&](int) { return LaunchDown(down, nullptr); }),
        each,
        bus);
}

void MeasureMix(unsigned char* buffer, double bus) {
  constexpr int kHidden = 4096;
  constexpr std::size_t kBytes = std::size_t{kMixes} * kStreams * kHidden * 4;
  auto* streams = Allocate<std::uint16_t>(96 * kStreams * kHidden, kFill);
  auto* partial = Allocate<float>(96 * kHidden / 64 * kMixPartials);
  for (const int rows : {1, 6, 36}) {
    const double us = Microseconds([&](int repeat) {
      const auto* fn = reinterpret_cast<const float*>(buffer + repeat * kBytes);
      return LaunchMix({streams, fn, rows, kHidden, kMixes, partial}, nullptr);
    });
    Print("mix", rows, us, kBytes, bus);
  }
}

// A million tokens: 262144 index keys and 8192 entries of ratio 128, one row.
void MeasureCache(unsigned char* buffer, double bus) {
  constexpr int kKeys = 262144, kHeads = 64, kEntries = 8192, kAttentionHeads = 32;
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
    const IndexPages pages{buffer + std::size_t{kKeys} * kIndexKeyBytes * (repeat % 8), 0, kKeys};
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
    a.compressed = {buffer + std::size_t{kEntries} * kEntryBytes * (repeat % 32), 0, kEntries};
    a.window = a.compressed;
    return LaunchAttention(a, nullptr);
  });
  Print("attention, ratio 128 at a million tokens", 1, us, double{kEntries} * kEntryBytes, bus);
}

}  // namespace

// Argument: the bus in GB/s, for the share (232 on a DGX Spark).
int main(int argc, char** argv) {
  const double bus = argc > 1 ? std::atof(argv[1]) : 232;
  auto* buffer = Allocate<unsigned char>(kBufferBytes + (std::size_t{1} << 27), kFill);
  std::printf("kernel,rows,microseconds,gigabytes_per_second,share_of_bus\n");
  MeasureProducts(buffer, bus);
  MeasureExperts(buffer, bus);
  MeasureMix(buffer, bus);
  MeasureCache(buffer, bus);
  return 0;
}
