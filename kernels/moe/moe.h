#pragma once

#include <cstdint>

#include "kernels/linear/prepared_weights.h"

// The experts of a layer on one rank: rows are grouped by expert, each touched expert's weights
// are streamed once, and a row's expert outputs are added in ascending order of expert, as
// kernels/ops.h has it, so that neither its neighbours nor the grouping shows in its bits.
//
//   a = w1 x, b = w3 x, both rounded to bf16;  a = min(a, limit), b = clamp(b, -limit, limit)
//   t = bf16(silu(a) b weight), quantised per 128;  y = w2 t;  output = sum of y over the choices
//
// An assignment is a (row, choice) pair, numbered row * choices + choice.
namespace sparkspan::kernels {

constexpr int kGroupExpertsMax = 512;
constexpr int kChoicesMax = 16;
// The shared expert is one expert that every row chooses; its grouping is written by no kernel.

struct GroupingArguments {
  const std::int32_t* ids;  // [rows, choices], global expert ids
  int rows;
  int choices;
  int first_expert;  // this rank holds experts [first_expert, first_expert + experts)
  int experts;

  std::int32_t* offsets;       // [experts + 1], out: each expert's stretch of `order`
  std::int32_t* order;         // [rows * choices], out: assignments by expert, ascending in each
  std::int32_t* active;        // [experts], out: the experts with rows, ascending
  std::int32_t* active_count;  // [1], out
};

// How rows find their experts; the grouping's outputs.
struct Grouping {
  const std::int32_t* offsets;
  const std::int32_t* order;
  const std::int32_t* active;
  const std::int32_t* active_count;
  int experts;
};

struct GateUpArguments {
  WeightFormat weight_format;  // kE2m1 for routed experts, kE4m3 for the shared one
  const void* w1;              // prepared [intermediate, hidden], expert after expert
  const void* w1_scale;
  const void* w3;
  const void* w3_scale;
  int hidden;        // a multiple of 128
  int intermediate;  // of this rank, a multiple of 128
  Grouping grouping;

  const std::uint8_t* x;        // e4m3 [rows, hidden]
  const std::uint8_t* x_scale;  // [rows, hidden / 128]
  const float* weights;         // [rows, choices]; null: one
  float limit;                  // 0: no clamp
  int rows;
  int choices;

  std::uint8_t* t;        // e4m3 [rows * choices, intermediate], out
  std::uint8_t* t_scale;  // [rows * choices, intermediate / 128], out
};

struct DownArguments {
  WeightFormat weight_format;
  const void* w2;  // prepared [hidden, intermediate], expert after expert
  const void* w2_scale;
  int hidden;  // a multiple of 128
  int intermediate;
  Grouping grouping;
  const std::uint8_t* t;
  const std::uint8_t* t_scale;
  int rows;
  int choices;

  float* y;  // [rows * choices, hidden], out
};

struct CombineArguments {
  const float* y;           // [rows * choices, hidden] of the routed experts
  const std::int32_t* ids;  // [rows, choices]; assignments of other ranks' experts are skipped
  int first_expert;
  int experts;
  const float* shared_y;  // [rows, hidden]; null when this rank adds none
  bool round_each;        // each y to bf16 before it is added, as one rank alone does
  int rows;
  int choices;
  int hidden;

  float* out;  // [rows, hidden], out: this rank's summand of the layer's output
};

int LaunchGrouping(const GroupingArguments& arguments, void* stream);
int LaunchGateUp(const GateUpArguments& arguments, void* stream);
int LaunchDown(const DownArguments& arguments, void* stream);
int LaunchCombine(const CombineArguments& arguments, void* stream);
void EmulateGrouping(const GroupingArguments& arguments);
void EmulateGateUp(const GateUpArguments& arguments);
void EmulateDown(const DownArguments& arguments);
void EmulateCombine(const CombineArguments& arguments);

}  // namespace sparkspan::kernels
