#pragma once

#include <cstdint>

// The dialect's leaves that no shipped kernel uses yet, so that they too are compiled for every
// chip and run wherever the kernels' tests run.
namespace sparkspan::kernels {

constexpr int kLeafThreads = 64;  // two warps
constexpr int kLeafTile = 128;    // floats

struct WarpLeavesArguments {
  const float* in;  // [64]
  // [64] each, out: in of three lanes further (the last three of a warp keep theirs), of the lane
  // as far from the other end of the warp, and of the lane as far from the other end of the block.
  float* shifted;
  float* warp_reversed;
  float* block_reversed;
  float* powers;         // [64], out: 2 to the power of in
  float* largest;        // [64], out: of all
  std::int32_t* any;     // [64], out: whether one of the warp's is above 40
  std::int32_t* global;  // [2], zeros before; out: the largest index, and -1 once taken
  std::int32_t* took;    // [64], out: 1 for the one that took it
};

// Two tiles brought to shared memory one after the other by bulk copies; out: reversed.
struct BulkTilesArguments {
  const float* in;  // [2, 128], 16-byte aligned
  float* out;       // [2, 128]
};

// One e4m3 product of a warp: each lane's operands as the instruction takes them.
struct E4m3ProductArguments {
  const std::uint32_t* a;  // [32, 4]
  const std::uint32_t* b;  // [32, 2]
  float* c;                // [16, 8], out
};

int LaunchWarpLeaves(const WarpLeavesArguments& arguments, void* stream);
int LaunchBulkTiles(const BulkTilesArguments& arguments, void* stream);
int LaunchE4m3Product(const E4m3ProductArguments& arguments, void* stream);
void EmulateWarpLeaves(const WarpLeavesArguments& arguments);
void EmulateBulkTiles(const BulkTilesArguments& arguments);
void EmulateE4m3Product(const E4m3ProductArguments& arguments);

}  // namespace sparkspan::kernels
