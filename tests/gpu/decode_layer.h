#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/fused/fused.h"
#include "kernels/hyper_connection/hyper_connection.h"
#include "kernels/indexer/select.h"

namespace sparkspan::kernels {

class DecodeImage;

// One layer of ratio 4 at the shapes that a rank of two has, in device memory, launched as a step
// of a few rows launches it. Its numbers are noise with finite results: what counts is their bits
// and the time that they take.
class DecodeLayer {
 public:
  // One of a layer's launches, in their order: its name, the bytes that its formats require of
  // memory (weights, and of stored entries and keys those of one row), and what starts it.
  struct Step {
    const char* name;
    double bytes;
    int (DecodeLayer::*launch)(void* stream);
    double bytes_per_expert = 0;  // of those that rows have chosen
  };

  // `rows` of one sequence, at most kFusedRowsMax, behind `context` tokens, a multiple of 256 and
  // at most 65536. Aborts with a message on any error of CUDA.
  DecodeLayer(int rows, int context);
  DecodeLayer(const DecodeLayer&) = delete;
  DecodeLayer& operator=(const DecodeLayer&) = delete;
  ~DecodeLayer();

  std::span<const Step> steps() const { return steps_; }
  // Starts one step on `stream` (a cudaStream_t); weights come from where no launch has been for
  // more bytes than an L2 holds.
  void Start(const Step& step, void* stream);
  void StartAll(void* stream);
  // What `step` requires after the rows' last choice of experts, which it waits for.
  double BytesOf(const Step& step) const;

  // As after construction. Waits for the device.
  void Reset();
  // Every byte that the launches may write. Waits for the device.
  std::vector<std::byte> Read() const;

 private:
  int PostMixAttention(void* stream);
  int PreAttention(void* stream);
  int Latents(void* stream);
  int Queries(void* stream);
  int Select(void* stream);
  int Attention(void* stream);
  int Output(void* stream);
  int OutputProjection(void* stream);
  int PostMixFeedForward(void* stream);
  int PreFeedForward(void* stream);
  int Route(void* stream);
  int ExpertsUp(void* stream);
  int ExpertsDown(void* stream);

  void PlaceArguments(DecodeImage& image, int context);
  void PlaceStreams(DecodeImage& image);
  void PlaceCache(DecodeImage& image, int context);
  void PlaceLatents(DecodeImage& image);
  void PlaceCompressors(DecodeImage& image);
  void PlaceQueries(DecodeImage& image);
  void PlaceSelection(DecodeImage& image);
  void PlaceAttention(DecodeImage& image);
  void PlaceOutput(DecodeImage& image);
  void PlaceRoute(DecodeImage& image);
  void PlaceExperts(DecodeImage& image);
  LinearArguments PlaceProduct(
      DecodeImage& image, WeightFormat format, int n, int k, OutputFormat output_format) const;
  const void* NextWeights(std::size_t bytes);
  void NextWeights(LinearArguments& product);

  int rows_;
  std::byte* weights_ = nullptr;  // kWeightBytes of them, cycled through
  std::size_t next_weights_ = 0;
  std::byte* initial_ = nullptr;
  std::byte* state_ = nullptr;
  std::size_t state_bytes_ = 0;
  std::vector<Step> steps_;

  int context_ = 0;
  int pages_ = 0;
  const std::uint8_t* weight_scale_ = nullptr;
  const float* rope_ = nullptr;
  const std::int32_t* page_table_ = nullptr;
  EntryPages window_{}, compressed_{};
  IndexPages keys_{};
  PostMixArguments post_mix_attention_{}, post_mix_feed_forward_{};
  PreArguments pre_attention_{}, pre_feed_forward_{};
  LatentsArguments latents_{};
  QueriesArguments queries_{};
  SelectArguments select_{};
  AttentionArguments attention_{};
  OutputArguments output_{};
  LinearArguments output_projection_{};
  RouteArguments route_{};
  ExpertsUpArguments experts_up_{};
  ExpertsDownArguments experts_down_{};
};

}  // namespace sparkspan::kernels
