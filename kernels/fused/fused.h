#pragma once

#include <cstdint>

#include "kernels/attention/attention.h"
#include "kernels/compressor/compressor.h"
#include "kernels/indexer/index_score.h"
#include "kernels/linear/linear.h"
#include "kernels/moe/moe.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/router/router.h"

// Launches for steps of few rows, where starting a kernel costs as much as its bytes: products, and
// what follows them, done by whichever block finishes the product's last part while the others
// still stream weights. Each has the bits of the separate launches that it stands for, so a long
// prompt may use those and decode these.
//
// `arrivals` are counters in device memory, zero before a launch and zero again after it.
namespace sparkspan::kernels {

// The rows that these launches take at most. Beyond it bytes outweigh launches, and one block would
// finish for too many rows.
constexpr int kFusedRowsMax = 48;

// ProjectLatents and Compress of kernels/ops.h, and the rows kept in their rings. A product that
// the layer lacks has n = 0.
struct LatentsArguments {
  LinearArguments query;             // e4m3 by e4m3, to bf16
  LinearArguments entry;             // e4m3 by e4m3, to bf16
  LinearArguments compressor;        // bf16, values over gates, to fp32
  LinearArguments index_compressor;  // the same
  LinearArguments index_weights;     // bf16, to fp32
  RmsNormArguments query_norm;       // of query.output
  EntryWriteArguments entry_write;   // of entry.output
  CompressArguments entries;         // of compressor.output
  RingWriteArguments ring;
  CompressArguments keys;  // of index_compressor.output
  RingWriteArguments key_ring;
  std::int32_t* arrivals;  // [4]
};

// ProjectQueries, and the index queries of SelectEntries.
struct QueriesArguments {
  LinearArguments query;        // e4m3 by e4m3, to bf16
  LinearArguments index_query;  // the same; n = 0: none
  QueryArguments prepare;       // of query.output
  IndexQueryArguments index;    // of index_query.output
  std::int32_t* arrivals;       // [heads + index heads]
};

// The grouped output projection, its result quantised for the product that follows.
struct OutputArguments {
  LinearArguments product;     // e4m3 by bf16, to bf16; n a multiple of 128
  QuantizeArguments quantize;  // of product.output
  std::int32_t* arrivals;      // [n / 128]
};

// Route of kernels/ops.h: logits, choices, and the rows of each expert.
struct RouteArguments {
  LinearArguments product;  // bf16, to fp32
  RouterArguments router;   // of product.output
  GroupingArguments grouping;
  std::int32_t* arrivals;  // [1]
};

// The routed experts and the shared one, up to their SwiGLU. shared_expert.w1 null: not here.
struct ExpertsUpArguments {
  GateUpArguments routed;         // e2m1
  GateUpArguments shared_expert;  // e4m3; choices = 1
};
// The same down to the layer's output, summed.
struct ExpertsDownArguments {
  DownArguments routed;
  DownArguments shared_expert;  // w2 null: not here
  CombineArguments combine;     // of routed.y and shared_expert.y
  std::int32_t* arrivals;       // [hidden / 128]
};

int LaunchLatents(const LatentsArguments& arguments, void* stream);
int LaunchQueries(const QueriesArguments& arguments, void* stream);
int LaunchOutput(const OutputArguments& arguments, void* stream);
int LaunchRoute(const RouteArguments& arguments, void* stream);
int LaunchExpertsUp(const ExpertsUpArguments& arguments, void* stream);
int LaunchExpertsDown(const ExpertsDownArguments& arguments, void* stream);
void EmulateLatents(const LatentsArguments& arguments);
void EmulateQueries(const QueriesArguments& arguments);
void EmulateOutput(const OutputArguments& arguments);
void EmulateRoute(const RouteArguments& arguments);
void EmulateExpertsUp(const ExpertsUpArguments& arguments);
void EmulateExpertsDown(const ExpertsDownArguments& arguments);

}  // namespace sparkspan::kernels
