#pragma once

#include <cstdint>

#include "kernels/simt/words.h"

// The best compressed entries of each query, exactly and always the same ones.
namespace sparkspan::kernels {

// What one block reads five times in as long as it takes to join sixteen parts of a million tokens.
constexpr int kTopKPartKeys = 16384;

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
  // Keys that one block reads. Where rows may be longer, each block takes the best of its part, and
  // the one that comes last the best of those: the same ones wherever rows are cut.
  int part_keys = kTopKPartKeys;
  // Scratch, unused where one part holds a row: [rows, TopKCandidates], and [rows] zeros before and
  // after.
  std::int32_t* candidates = nullptr;
  float* candidate_scores = nullptr;
  std::int32_t* arrivals = nullptr;
};

SIMT_HOST_DEVICE constexpr std::int64_t TopKParts(const TopKArguments& arguments) {
  return arguments.row_stride <= arguments.part_keys
             ? 1
             : (arguments.row_stride + arguments.part_keys - 1) / arguments.part_keys;
}
// Of a row: each part has at most k, and only the last may have fewer than the others.
SIMT_HOST_DEVICE constexpr int TopKCandidatesOfPart(const TopKArguments& arguments) {
  return arguments.k < arguments.part_keys ? arguments.k : arguments.part_keys;
}
SIMT_HOST_DEVICE constexpr std::int64_t TopKCandidates(const TopKArguments& arguments) {
  return TopKParts(arguments) * TopKCandidatesOfPart(arguments);
}

// Returns a cudaError_t.
int LaunchTopK(const TopKArguments& arguments, void* stream);
void EmulateTopK(const TopKArguments& arguments);

}  // namespace sparkspan::kernels
