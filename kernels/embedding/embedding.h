#pragma once

#include <cstdint>

#include "kernels/hyper_connection/hyper_connection.h"

// Where a step's rows come from and where a drafter looks at them.
namespace sparkspan::kernels {

// out = the table's rows of tokens first_token <= t < first_token + table_rows, zeros for others:
// summed over ranks, each row comes from the one that holds it.
struct EmbedArguments {
  const std::uint16_t* table;  // bf16 [table_rows, hidden]
  const std::int32_t* tokens;  // [rows], in device memory: a step may follow one still under way
  std::int32_t first_token;
  std::int32_t table_rows;
  int rows;
  int hidden;  // a multiple of 4
  float* out;  // fp32 [rows, hidden], out
};

// Every stream = bf16(the sum of the parts, in order).
struct OpenStreamsArguments {
  const float* partial_sums;  // [parts, rows, hidden]
  int parts;
  int rows;
  int hidden;              // a multiple of 4
  std::uint16_t* streams;  // bf16 [rows, 4, hidden], out
};

// The mean of a row's streams in bf16, where a drafter expects this layer's: its input is the means
// of several layers, one after the other.
struct StreamMeanArguments {
  const std::uint16_t* streams;  // bf16 [rows, 4, hidden]
  int rows;
  int hidden;          // a multiple of 4
  std::uint16_t* out;  // of the first row, bf16, out
  int out_pitch;       // elements from a row to the next, a multiple of 4
};

int LaunchEmbed(const EmbedArguments& arguments, void* stream);
int LaunchOpenStreams(const OpenStreamsArguments& arguments, void* stream);
int LaunchStreamMean(const StreamMeanArguments& arguments, void* stream);
void EmulateEmbed(const EmbedArguments& arguments);
void EmulateOpenStreams(const OpenStreamsArguments& arguments);
void EmulateStreamMean(const StreamMeanArguments& arguments);

}  // namespace sparkspan::kernels
