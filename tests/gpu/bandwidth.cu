// Streams prepared weights through the product kernels at decode shapes and prints the share of the
// bus they reach. Weights cycle through a buffer much larger than the L2, or the figures would lie.

#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "kernels/linear/linear.h"

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

double Microseconds(const Shape& shape,
                    int rows,
                    unsigned char* buffer,
                    void* x,
                    std::uint8_t* scales,
                    float* out) {
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
  cudaEvent_t begin, end;
  Check(cudaEventCreate(&begin));
  Check(cudaEventCreate(&end));
  for (int repeat = -5; repeat < kRepeats; ++repeat) {
    if (repeat == 0) {
      Check(cudaEventRecord(begin));
    }
    arguments.weight = buffer + static_cast<std::size_t>(repeat + 5) % copies * bytes;
    Check(LaunchLinear(arguments, nullptr));
  }
  Check(cudaEventRecord(end));
  Check(cudaEventSynchronize(end));
  float milliseconds = 0;
  Check(cudaEventElapsedTime(&milliseconds, begin, end));
  return 1e3 * milliseconds / kRepeats;
}

}  // namespace

// Argument: the bus in GB/s, for the share (232 on a DGX Spark).
int main(int argc, char** argv) {
  const double bus = argc > 1 ? std::atof(argv[1]) : 232;
  unsigned char* buffer = nullptr;
  void* x = nullptr;
  std::uint8_t* scales = nullptr;
  float* out = nullptr;
  Check(cudaMalloc(&buffer, kBufferBytes + (std::size_t{1} << 27)));
  Check(cudaMalloc(&x, 96 * 4096 * 2));
  Check(cudaMalloc(&scales, 96 * 32));
  Check(cudaMalloc(&out, sizeof(float) * 96 * 65536));
  Check(cudaMemset(buffer, 0x38, kBufferBytes + (std::size_t{1} << 27)));
  Check(cudaMemset(x, 0x38, 96 * 4096 * 2));
  Check(cudaMemset(scales, 127, 96 * 32));
  std::printf("product,rows,microseconds,gigabytes_per_second,share_of_bus\n");
  for (const Shape& shape : kShapes) {
    for (const int rows : {1, 6, 16, 36, 96}) {
      const double us = Microseconds(shape, rows, buffer, x, scales, out);
      const double rate =
          static_cast<double>(PreparedBytes(shape.weight, shape.n, shape.k)) / us * 1e-3;
      std::printf("%s,%d,%.1f,%.1f,%.2f\n", shape.name, rows, us, rate, rate / bus);
    }
  }
  return 0;
}
