#pragma once

#include <cstdint>

// The best compressed entries of each query, exactly and always the same ones.
namespace sparkspan::kernels {

struct TopKArguments {
  // [rows, row_stride]; the first visible[row] scores of a row count. Finite; -0 equals +0.
  const float* scores;
  std::int64_t row_stride;
  const std::int32_t* visible;  // [rows], 0 to row_stride
  // [rows, k], out: the min(k, visible) indices of the largest scores, ascending, then -1. Among
  // equal scores the lowest index wins.
  std::int32_t* indices;
  int rows;
  int k;
};

// One block a row; returns a cudaError_t.
int LaunchTopK(const TopKArguments& arguments, void* stream);
void EmulateTopK(const TopKArguments& arguments);

}  // namespace sparkspan::kernels
