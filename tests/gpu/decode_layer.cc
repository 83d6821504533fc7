#include "tests/gpu/decode_layer.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <utility>

#include "tests/gpu/decode_image.h"

namespace sparkspan::kernels {

using namespace decode;

namespace {

constexpr std::size_t kWeightBytes = std::size_t{3} << 29;
void Check(int error) {
  if (error != 0) {
    std::fprintf(stderr, "%s\n", cudaGetErrorString(static_cast<cudaError_t>(error)));
    std::abort();
  }
}

std::byte* Allocate(std::size_t bytes) {
  void* memory = nullptr;
  Check(cudaMalloc(&memory, bytes));
  return static_cast<std::byte*>(memory);
}

}  // namespace

DecodeLayer::DecodeLayer(int rows, int context) : rows_(rows) {
  weights_ = Allocate(kWeightBytes);
  std::mt19937 random(18);
  std::vector<std::byte> noise(std::size_t{1} << 24);
  std::generate(noise.begin(), noise.end(), [&] { return SmallByte(random); });
  for (std::size_t at = 0; at < kWeightBytes; at += noise.size()) {
    Check(cudaMemcpy(weights_ + at, noise.data(), noise.size(), cudaMemcpyHostToDevice));
  }
  state_ = Allocate(DecodeImage::kBytes);
  DecodeImage image(state_);
  PlaceArguments(image, context);
  state_bytes_ = image.used();
  initial_ = Allocate(state_bytes_);
  Check(cudaMemcpy(initial_, image.bytes(), state_bytes_, cudaMemcpyHostToDevice));
  Reset();

  const auto of = [](WeightFormat format, int n, int k) {
    return static_cast<double>(PreparedBytes(format, n, k) + PreparedScaleBytes(format, n, k));
  };
  const auto of_product = [&](const LinearArguments& product) {
    return of(product.weight_format, product.n, product.k);
  };
  const double mix = double{kMixes} * kStreams * kHidden * 4;
  const double latents = of_product(latents_.query) + of_product(latents_.entry) +
                         of_product(latents_.compressor) + of_product(latents_.index_compressor) +
                         of_product(latents_.index_weights);
  const double expert = of(WeightFormat::kE2m1, kIntermediate, kHidden);
  const double shared = of(WeightFormat::kE4m3, kIntermediate, kHidden);
  steps_ = {
      {"streams and mix", mix, &DecodeLayer::PostMixAttention},
      {"mixed input", 0, &DecodeLayer::PreAttention},
      {"latents, ratio 4", latents, &DecodeLayer::Latents},
      {"queries",
       of_product(queries_.query) + of_product(queries_.index_query),
       &DecodeLayer::Queries},
      {"select", double{kIndexKeyBytes} * context / kRatio, &DecodeLayer::Select},
      {"attention",
       double{kEntryBytes} * (kWindow + std::min(kTopK, context / kRatio)),
       &DecodeLayer::Attention},
      {"output", of_product(output_.product), &DecodeLayer::Output},
      {"wo_b", of_product(output_projection_), &DecodeLayer::OutputProjection},
      {"streams and mix", mix, &DecodeLayer::PostMixFeedForward},
      {"mixed input", 0, &DecodeLayer::PreFeedForward},
      {"route", of_product(route_.product), &DecodeLayer::Route},
      {"experts, gate and up", 2 * shared, &DecodeLayer::ExpertsUp, 2 * expert},
      {"experts, down", shared, &DecodeLayer::ExpertsDown, expert},
  };
}

DecodeLayer::~DecodeLayer() {
  cudaFree(weights_);
  cudaFree(initial_);
  cudaFree(state_);
}

void DecodeLayer::Start(const Step& step, void* stream) {
  Check((this->*step.launch)(stream));
}
void DecodeLayer::StartAll(void* stream) {
  for (const Step& step : steps_) {
    Start(step, stream);
  }
}

double DecodeLayer::BytesOf(const Step& step) const {
  std::int32_t touched = 0;
  Check(
      cudaMemcpy(&touched, route_.grouping.active_count, sizeof(touched), cudaMemcpyDeviceToHost));
  return step.bytes + touched * step.bytes_per_expert;
}

void DecodeLayer::Reset() {
  next_weights_ = 0;
  Check(cudaMemcpy(state_, initial_, state_bytes_, cudaMemcpyDeviceToDevice));
  Check(cudaDeviceSynchronize());
}

std::vector<std::byte> DecodeLayer::Read() const {
  Check(cudaDeviceSynchronize());
  std::vector<std::byte> bytes(state_bytes_);
  Check(cudaMemcpy(bytes.data(), state_, state_bytes_, cudaMemcpyDeviceToHost));
  return bytes;
}

// The stretch of the weights after the one that was given out last.
const void* DecodeLayer::NextWeights(std::size_t bytes) {
  const std::size_t rounded = (bytes + 255) / 256 * 256;
  if (next_weights_ + rounded > kWeightBytes) {
    next_weights_ = 0;
  }
  const std::byte* at = weights_ + next_weights_;
  next_weights_ += rounded;
  return at;
}
void DecodeLayer::NextWeights(LinearArguments& product) {
  product.weight = NextWeights(PreparedBytes(product.weight_format, product.n, product.k));
}

int DecodeLayer::PostMixAttention(void* stream) {
  post_mix_attention_.mix.fn =
      static_cast<const float*>(NextWeights(std::size_t{kMixes} * kStreams * kHidden * 4));
  return LaunchPostMix(post_mix_attention_, stream);
}
int DecodeLayer::PreAttention(void* stream) {
  return LaunchPre(pre_attention_, stream);
}
int DecodeLayer::Latents(void* stream) {
  for (LinearArguments* product : {&latents_.query,
                                   &latents_.entry,
                                   &latents_.compressor,
                                   &latents_.index_compressor,
                                   &latents_.index_weights}) {
    NextWeights(*product);
  }
  return LaunchLatents(latents_, stream);
}
int DecodeLayer::Queries(void* stream) {
  NextWeights(queries_.query);
  NextWeights(queries_.index_query);
  return LaunchQueries(queries_, stream);
}
int DecodeLayer::Select(void* stream) {
  return LaunchSelect(select_, stream);
}
int DecodeLayer::Attention(void* stream) {
  return LaunchAttention(attention_, stream);
}
int DecodeLayer::Output(void* stream) {
  NextWeights(output_.product);
  return LaunchOutput(output_, stream);
}
int DecodeLayer::OutputProjection(void* stream) {
  NextWeights(output_projection_);
  return LaunchLinear(output_projection_, stream);
}
int DecodeLayer::PostMixFeedForward(void* stream) {
  post_mix_feed_forward_.mix.fn =
      static_cast<const float*>(NextWeights(std::size_t{kMixes} * kStreams * kHidden * 4));
  return LaunchPostMix(post_mix_feed_forward_, stream);
}
int DecodeLayer::PreFeedForward(void* stream) {
  return LaunchPre(pre_feed_forward_, stream);
}
int DecodeLayer::Route(void* stream) {
  NextWeights(route_.product);
  return LaunchRoute(route_, stream);
}
int DecodeLayer::ExpertsUp(void* stream) {
  for (const auto& [arguments, experts] :
       {std::pair{&experts_up_.routed, kExperts}, std::pair{&experts_up_.shared_expert, 1}}) {
    const std::size_t bytes =
        PreparedBytes(arguments->weight_format, experts * kIntermediate, kHidden);
    arguments->w1 = NextWeights(bytes);
    arguments->w3 = NextWeights(bytes);
  }
  return LaunchExpertsUp(experts_up_, stream);
}
int DecodeLayer::ExpertsDown(void* stream) {
  experts_down_.routed.w2 =
      NextWeights(PreparedBytes(WeightFormat::kE2m1, kExperts * kHidden, kIntermediate));
  experts_down_.shared_expert.w2 =
      NextWeights(PreparedBytes(WeightFormat::kE4m3, kHidden, kIntermediate));
  return LaunchExpertsDown(experts_down_, stream);
}

}  // namespace sparkspan::kernels
