// Launches that overlap, as a step's do: what the emulator, which runs one after the other, cannot
// show. Every byte that a chain of layers writes is the same with a wait after each launch, without
// one, and from a captured graph.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "tests/gpu/decode_layer.h"

namespace sparkspan::kernels {
namespace {

constexpr int kLayers = 3;
constexpr int kRepeats = 20;

class Overlap : public testing::TestWithParam<int> {
 protected:
  Overlap() : layer_(GetParam(), 4096) {
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    for (int i = 0; i < kLayers; ++i) {
      for (const DecodeLayer::Step& step : layer_.steps()) {
        layer_.Start(step, stream_);
        EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess) << step.name;
      }
    }
    expected_ = layer_.Read();
  }
  ~Overlap() override { cudaStreamDestroy(stream_); }

  void StartLayers() {
    for (int i = 0; i < kLayers; ++i) {
      layer_.StartAll(stream_);
    }
  }

  DecodeLayer layer_;
  cudaStream_t stream_ = nullptr;
  std::vector<std::byte> expected_;
};

TEST_P(Overlap, OnAStream) {
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    layer_.Reset();
    StartLayers();
    ASSERT_TRUE(layer_.Read() == expected_) << "repeat " << repeat;
  }
}

TEST_P(Overlap, InAGraph) {
  layer_.Reset();
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  StartLayers();
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    layer_.Reset();
    ASSERT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
    ASSERT_TRUE(layer_.Read() == expected_) << "repeat " << repeat;
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

// Noise must leave the launches something to compare: numbers, and rows that choose for themselves.
TEST_P(Overlap, ComputesNumbers) {
  layer_.Reset();
  EXPECT_FALSE(layer_.Read() == expected_);
}

INSTANTIATE_TEST_SUITE_P(Rows, Overlap, testing::Values(1, 6, 16, 48));

}  // namespace
}  // namespace sparkspan::kernels
