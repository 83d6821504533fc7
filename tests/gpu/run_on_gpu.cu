// Puts the GPU where the kernels' tests expect the emulator: each Emulate... launches and waits.

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "kernels/attention/attention.h"
#include "kernels/compressor/compressor.h"
#include "kernels/embedding/embedding.h"
#include "kernels/fused/fused.h"
#include "kernels/hyper_connection/hyper_connection.h"
#include "kernels/indexer/index_score.h"
#include "kernels/indexer/select.h"
#include "kernels/indexer/top_k.h"
#include "kernels/linear/linear.h"
#include "kernels/moe/moe.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/router/router.h"
#include "kernels/sampling/draft.h"
#include "kernels/sampling/sample.h"
#include "kernels/sampling/sampling.h"
#include "tests/unit/kernels/simt/leaves.h"

// Called by managed_memory.cc, because nvcc takes a replaced operator new for device code too.
void* AllocateManaged(std::size_t bytes) {
  void* memory = nullptr;
  return cudaMallocManaged(&memory, bytes) == cudaSuccess ? memory : nullptr;
}
void FreeManaged(void* memory) {
  cudaFree(memory);
}

namespace sparkspan::kernels {
namespace {

void Finish(int launched, const char* kernel) {
  const cudaError_t error =
      launched != 0 ? static_cast<cudaError_t>(launched) : cudaDeviceSynchronize();
  if (error != cudaSuccess) {
    std::fprintf(stderr, "%s: %s\n", kernel, cudaGetErrorString(error));
    std::abort();
  }
}

}  // namespace

#define SPARKSPAN_ON_GPU(Name, Arguments)            \
  void Emulate##Name(const Arguments& arguments) {   \
    Finish(Launch##Name(arguments, nullptr), #Name); \
  }
SPARKSPAN_ON_GPU(Accept, AcceptArguments)
SPARKSPAN_ON_GPU(Attention, AttentionArguments)
SPARKSPAN_ON_GPU(BulkTiles, BulkTilesArguments)
SPARKSPAN_ON_GPU(Combine, CombineArguments)
SPARKSPAN_ON_GPU(CompressEntries, CompressArguments)
SPARKSPAN_ON_GPU(CompressKeys, CompressArguments)
SPARKSPAN_ON_GPU(CountScores, CountScoresArguments)
SPARKSPAN_ON_GPU(Down, DownArguments)
SPARKSPAN_ON_GPU(DraftTurn, DraftTurnArguments)
SPARKSPAN_ON_GPU(DrawTokens, SampleArguments)
SPARKSPAN_ON_GPU(E4m3Product, E4m3ProductArguments)
SPARKSPAN_ON_GPU(Embed, EmbedArguments)
SPARKSPAN_ON_GPU(EntryWrite, EntryWriteArguments)
SPARKSPAN_ON_GPU(ExpertsDown, ExpertsDownArguments)
SPARKSPAN_ON_GPU(ExpertsUp, ExpertsUpArguments)
SPARKSPAN_ON_GPU(GateUp, GateUpArguments)
SPARKSPAN_ON_GPU(Grouping, GroupingArguments)
SPARKSPAN_ON_GPU(IndexQuery, IndexQueryArguments)
SPARKSPAN_ON_GPU(IndexScore, IndexScoreArguments)
SPARKSPAN_ON_GPU(Latents, LatentsArguments)
SPARKSPAN_ON_GPU(Linear, LinearArguments)
SPARKSPAN_ON_GPU(Linears, LinearBatch)
SPARKSPAN_ON_GPU(MeasureScores, SampleArguments)
SPARKSPAN_ON_GPU(Mix, MixArguments)
SPARKSPAN_ON_GPU(OpenStreams, OpenStreamsArguments)
SPARKSPAN_ON_GPU(Output, OutputArguments)
SPARKSPAN_ON_GPU(Pick, PickArguments)
SPARKSPAN_ON_GPU(Post, PostArguments)
SPARKSPAN_ON_GPU(PostMix, PostMixArguments)
SPARKSPAN_ON_GPU(Pre, PreArguments)
SPARKSPAN_ON_GPU(Quantize, QuantizeArguments)
SPARKSPAN_ON_GPU(Queries, QueriesArguments)
SPARKSPAN_ON_GPU(Query, QueryArguments)
SPARKSPAN_ON_GPU(RingWrite, RingWriteArguments)
SPARKSPAN_ON_GPU(RmsNorm, RmsNormArguments)
SPARKSPAN_ON_GPU(Route, RouteArguments)
SPARKSPAN_ON_GPU(Router, RouterArguments)
SPARKSPAN_ON_GPU(Select, SelectArguments)
SPARKSPAN_ON_GPU(StreamMean, StreamMeanArguments)
SPARKSPAN_ON_GPU(TopK, TopKArguments)
SPARKSPAN_ON_GPU(WarpLeaves, WarpLeavesArguments)
#undef SPARKSPAN_ON_GPU

}  // namespace sparkspan::kernels
