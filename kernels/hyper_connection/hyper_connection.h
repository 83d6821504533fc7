#pragma once

#include <cstdint>

#include "kernels/norm/rms_norm.h"

// Manifold-constrained hyper-connections: each token carries four residual streams h [4, hidden].
// Before a sublayer its input is a mix of them, after it the streams are mixed and receive its
// output. The weights of both mixes come from h itself:
//
//   x = flatten(h), r = rsqrt(mean(x^2) + norm_epsilon), m = (fn x) r          (24 numbers)
//   pre[i]  = sigmoid(m[i] scale[0] + base[i]) + epsilon
//   post[i] = 2 sigmoid(m[4 + i] scale[1] + base[4 + i])
//   C[i][j] = m[8 + 4i + j] scale[2] + base[8 + 4i + j], made doubly stochastic by Sinkhorn:
//             softmax over j plus epsilon, columns divided by (their sum + epsilon), then
//             iterations - 1 times rows and columns alike
//   u = bf16(sum_i pre[i] h[i]),   h'[j] = bf16(post[j] y + sum_i C[i][j] h[i])
namespace sparkspan::kernels {

constexpr int kStreams = 4;
constexpr int kMixes = kStreams * (kStreams + 2);  // rows of fn at a sublayer
constexpr int kHeadMixes = kStreams;               // rows of fn at the head, which has only pre
// A row of partial sums: one per row of fn, then the sum of squares, padded.
constexpr int kMixPartials = 28;
// fn x is split over blocks of so many columns, the same 64 of every stream, and the parts are
// added in order.
constexpr int kMixColumnsPerBlock = 256;
constexpr int kPreHiddenMax = 8192;

struct MixArguments {
  const std::uint16_t* streams;  // bf16 [rows, 4 hidden]
  const float* fn;               // [mixes, 4 hidden]
  int rows;
  int hidden;      // a multiple of 128
  int mixes;       // kMixes or kHeadMixes
  float* partial;  // [rows, 4 hidden / kMixColumnsPerBlock, kMixPartials], out
  // Weights that come next, brought to the L2 while this launch still waits for the one before it,
  // which waits for other ranks: 16-byte aligned, a multiple of 16 bytes; null: none.
  const void* prefetch = nullptr;
  std::int64_t prefetch_bytes = 0;
};

struct PreArguments {
  const std::uint16_t* streams;
  const float* partial;  // of the mix
  const float* base;     // [mixes]
  const float* scale;    // [3], or [1] at the head
  int mixes;
  int sinkhorn_iterations;
  float epsilon;
  // x is not read: it is u. rows, width = hidden, gain, epsilon and the outputs are the norm's.
  RmsNormArguments norm;
  float* post;                     // [rows, 4], out; null at the head
  float* comb;                     // [rows, 4, 4], out; null at the head
  std::uint16_t* mixed = nullptr;  // u itself, bf16 [rows, hidden], out; null: not wanted
};

struct PostArguments {
  const std::uint16_t* streams;  // [rows, 4, hidden]
  // The sublayer's output as `parts` fp32 summands [parts, rows, hidden], added in order (rank
  // order) and rounded to bf16 once.
  const float* partial_sums;
  int parts;
  const float* post;
  const float* comb;
  int rows;
  int hidden;
  std::uint16_t* out;  // [rows, 4, hidden]; may be `streams`
};

// Post, and the mix of the sublayer that follows, in one launch: mix.streams is post.out. The same
// bits as one after the other.
struct PostMixArguments {
  PostArguments post;
  MixArguments mix;
};

int LaunchMix(const MixArguments& arguments, void* stream);
int LaunchPre(const PreArguments& arguments, void* stream);
int LaunchPost(const PostArguments& arguments, void* stream);
int LaunchPostMix(const PostMixArguments& arguments, void* stream);
void EmulateMix(const MixArguments& arguments);
void EmulatePre(const PreArguments& arguments);
void EmulatePost(const PostArguments& arguments);
void EmulatePostMix(const PostMixArguments& arguments);

}  // namespace sparkspan::kernels
