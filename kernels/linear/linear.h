#pragma once

#include <cstdint>

#include "kernels/linear/prepared_weights.h"

// y = x W^T for 1 to any number of rows, W read once for up to 96 of them.
//
// One accumulation chain: the order in which the products behind an output element are added
// depends on W's shape alone. The columns are dealt to eight warps in fixed stretches of whole
// 128-column groups; a warp adds its stretch from left to right, and the eight sums are added from
// the first to the last. How many rows share a launch changes nothing.
namespace sparkspan::kernels {

enum class ActivationFormat : std::uint8_t { kE4m3, kBf16 };
enum class OutputFormat : std::uint8_t { kBf16, kFloat };

struct LinearArguments {
  WeightFormat weight_format;
  ActivationFormat activation_format;  // e4m3 for e2m1 weights, bf16 for bf16 ones, else either
  OutputFormat output_format;

  const void* weight;        // prepared, 16-byte aligned
  const void* weight_scale;  // prepared; null for bf16
  int n;
  int k;  // a multiple of 128

  // [rows, groups, k] elements, row-major, each k 16-byte aligned. With groups > 1 output row block
  // [g n / groups, (g + 1) n / groups) reads the g-th k of each row: the grouped output projection.
  // n / groups is then a multiple of 16.
  const void* activation;
  const std::uint8_t* activation_scale;  // [rows, groups, k / 128] UE8M0; null for bf16
  int groups;

  void* output;  // [rows, n]
  int rows;
};

// Bytes of weights and scales that one pass over W streams: the floor of its time.
std::int64_t LinearWeightBytes(const LinearArguments& arguments);

int LaunchLinear(const LinearArguments& arguments, void* stream);
void EmulateLinear(const LinearArguments& arguments);

// Independent products in one launch: same formats of weights and activations, same number of rows.
// Small weights fill the bus together where each alone would leave it idle.
constexpr int kLinearPartsMax = 5;
struct LinearBatch {
  LinearArguments part[kLinearPartsMax];
  int parts;  // 1 to kLinearPartsMax
};

int LaunchLinears(const LinearBatch& batch, void* stream);
void EmulateLinears(const LinearBatch& batch);

}  // namespace sparkspan::kernels
