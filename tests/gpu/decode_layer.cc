#include "tests/gpu/decode_layer.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>

namespace sparkspan::kernels {
namespace {

constexpr std::size_t kWeightBytes = std::size_t{3} << 29;
constexpr int kHidden = 4096;
constexpr int kHeads = 32;
constexpr int kQRank = 1024;
constexpr int kOGroups = 4;
constexpr int kORank = 1024;
constexpr int kRatio = 4;
constexpr int kTopK = 512;
constexpr int kWindow = 128;
constexpr int kPageEntries = 64;
constexpr int kExperts = 64;
constexpr int kChoices = 6;
constexpr int kIntermediate = 1024;
constexpr float kEpsilon = 1e-6F;
constexpr int kWindowSlots = 256;
constexpr int kRingSlots = 64;
constexpr std::uint8_t kWeightScale = 119;  // 2^-8

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

// Bytes that are small and finite as e4m3, e2m1, bf16 and fp32 alike: bit 6 of each is zero.
std::byte SmallByte(std::mt19937& random) {
  return static_cast<std::byte>(random() & 0xBFU);
}

std::size_t ScaleBytesMax() {
  return PreparedScaleBytes(WeightFormat::kE2m1, kExperts * kIntermediate, kHidden);
}

}  // namespace

// What the device's memory will hold, laid out while the arguments learn their addresses.
class DecodeLayer::Image {
 public:
  static constexpr std::size_t kBytes = std::size_t{1} << 28;

  explicit Image(std::byte* device) : device_(device), bytes_(kBytes) {}

  template <class T>
  T* Zeros(std::size_t count) {
    const std::size_t at = (used_ + 255) / 256 * 256;
    used_ = at + count * sizeof(T);
    if (used_ > bytes_.size()) {
      std::fprintf(stderr,
                   "a layer of so many rows and tokens needs more than the image's bytes\n");
      std::abort();
    }
    return reinterpret_cast<T*>(device_ + at);
  }
  template <class T>
  T* Values(const std::vector<T>& values) {
    T* placed = Zeros<T>(values.size());
    std::memcpy(bytes_.data() + (reinterpret_cast<std::byte*>(placed) - device_),
                values.data(),
                values.size() * sizeof(T));
    return placed;
  }
  // value(i) for each of `count`.
  template <class T, class Value>
  T* Each(std::size_t count, const Value& value) {
    std::vector<T> values(count);
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = static_cast<T>(value(static_cast<int>(i)));
    }
    return Values(values);
  }
  template <class T>
  T* Filled(std::size_t count, T value) {
    return Values(std::vector<T>(count, value));
  }
  // bf16 between 1 and 2.
  std::uint16_t* Gain(std::size_t count) {
    return Each<std::uint16_t>(count, [&](int) { return 0x3F80U | (random_() & 0x7FU); });
  }
  // bf16 of either sign, between a half and two.
  std::uint16_t* Noise(std::size_t count) {
    return Each<std::uint16_t>(count, [&](int) { return 0x3F00U | (random_() & 0x80FFU); });
  }
  float* Rope(int rows) {
    return Each<float>(static_cast<std::size_t>(rows) * kRopeDim, [](int i) {
      const double angle = (i / kRopeDim + 1) / std::pow(10000.0, i % kRopePairs / 32.0);
      return i % kRopeDim < kRopePairs ? std::cos(angle) : std::sin(angle);
    });
  }

  std::size_t used() const { return used_; }
  const std::byte* bytes() const { return bytes_.data(); }

 private:
  std::byte* device_;
  std::vector<std::byte> bytes_;
  std::size_t used_ = 0;
  std::mt19937 random_{17};
};

DecodeLayer::DecodeLayer(int rows, int context) : rows_(rows) {
  weights_ = Allocate(kWeightBytes);
  std::mt19937 random(18);
  std::vector<std::byte> noise(std::size_t{1} << 24);
  std::generate(noise.begin(), noise.end(), [&] { return SmallByte(random); });
  for (std::size_t at = 0; at < kWeightBytes; at += noise.size()) {
    Check(cudaMemcpy(weights_ + at, noise.data(), noise.size(), cudaMemcpyHostToDevice));
  }
  state_ = Allocate(Image::kBytes);
  Image image(state_);
  PlaceStreams(image);
  PlaceAttention(image, context);
  PlaceExperts(image);
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

void DecodeLayer::PlaceStreams(Image& image) {
  const auto rows = static_cast<std::size_t>(rows_);
  auto* streams = image.Noise(rows * kStreams * kHidden);
  auto* between = image.Zeros<std::uint16_t>(rows * kStreams * kHidden);
  auto* y = image.Zeros<float>(rows * kHidden);
  auto* partial = image.Zeros<float>(rows * (kStreams * kHidden / kMixColumnsPerBlock) *
                                     static_cast<std::size_t>(kMixPartials));
  auto* post = image.Filled<float>(rows * kStreams, 1);
  auto* comb = image.Each<float>(rows * kStreams * kStreams,
                                 [](int i) { return i % 16 / 4 == i % 4 ? 1 : 0; });
  auto* x = image.Zeros<std::uint16_t>(rows * kHidden);
  auto* codes = image.Zeros<std::uint8_t>(rows * kHidden);
  auto* scales = image.Zeros<std::uint8_t>(rows * kHidden / 128);
  const auto* base = image.Filled<float>(kMixes, 0.1F);
  const auto* scale = image.Filled<float>(3, 0.5F);
  const RmsNormArguments norm{
      nullptr, image.Gain(kHidden), kEpsilon, rows_, kHidden, x, codes, scales};
  post_mix_attention_ = {{streams, y, 1, post, comb, rows_, kHidden, between},
                         {between, nullptr, rows_, kHidden, kMixes, partial}};
  pre_attention_ = {between, partial, base, scale, kMixes, 20, kEpsilon, norm, post, comb};
  post_mix_feed_forward_ = {{between, y, 1, post, comb, rows_, kHidden, streams},
                            {streams, nullptr, rows_, kHidden, kMixes, partial}};
  pre_feed_forward_ = pre_attention_;
  pre_feed_forward_.streams = streams;
}

void DecodeLayer::PlaceAttention(Image& image, int context) {
  const auto rows = static_cast<std::size_t>(rows_);
  const RmsNormArguments& input = pre_attention_.norm;
  const auto* weight_scale = image.Filled<std::uint8_t>(ScaleBytesMax(), kWeightScale);
  const auto product = [&](WeightFormat format, int n, int k, OutputFormat output_format) {
    LinearArguments a{};
    a.weight_format = format;
    a.activation_format =
        format == WeightFormat::kBf16 ? ActivationFormat::kBf16 : ActivationFormat::kE4m3;
    a.output_format = output_format;
    a.weight_scale = weight_scale;
    a.n = n;
    a.k = k;
    a.activation = format == WeightFormat::kBf16 ? static_cast<const void*>(input.normalized)
                                                 : input.quantized;
    a.activation_scale = input.scale;
    a.groups = 1;
    a.output =
        output_format == OutputFormat::kBf16
            ? static_cast<void*>(image.Zeros<std::uint16_t>(rows * static_cast<std::size_t>(n)))
            : image.Zeros<float>(rows * static_cast<std::size_t>(n));
    a.rows = rows_;
    return a;
  };
  const auto* rope = image.Rope(rows_);
  const int entries = context / kRatio;
  const int pages = entries / kPageEntries + 1;  // one more for what the rows complete
  // Stored entries and keys: random codes, scales near one.
  const auto* table = image.Each<std::int32_t>(rows * static_cast<std::size_t>(pages),
                                               [&](int i) { return i % pages; });
  const auto stored = [&](int count, int bytes, int scales_at, int scales) {
    std::mt19937 random(static_cast<unsigned>(bytes));
    return image.Each<std::uint8_t>(
        static_cast<std::size_t>(count) * static_cast<std::size_t>(bytes), [&](int i) -> unsigned {
          const int at = i % bytes - scales_at;
          return at >= 0 && at < scales ? 124 + random() % 4
                                        : static_cast<unsigned>(SmallByte(random));
        });
  };
  const EntryPages window{
      stored(kWindowSlots, kEntryBytes, kEntryScales, kPlainDim / kEntryGroup), 0, kWindowSlots};
  const EntryPages compressed{
      stored(pages * kPageEntries, kEntryBytes, kEntryScales, kPlainDim / kEntryGroup),
      std::int64_t{kPageEntries} * kEntryBytes,
      kPageEntries};
  const IndexPages keys{
      stored(pages * kPageEntries, kIndexKeyBytes, kIndexCodeBytes, kIndexScaleBytes),
      std::int64_t{kPageEntries} * kIndexKeyBytes,
      kPageEntries};

  latents_.query = product(WeightFormat::kE4m3, kQRank, kHidden, OutputFormat::kBf16);
  latents_.entry = product(WeightFormat::kE4m3, kHeadDim, kHidden, OutputFormat::kBf16);
  latents_.compressor = product(WeightFormat::kBf16, 4 * kHeadDim, kHidden, OutputFormat::kFloat);
  latents_.index_compressor =
      product(WeightFormat::kBf16, 4 * kIndexDim, kHidden, OutputFormat::kFloat);
  latents_.index_weights =
      product(WeightFormat::kBf16, kIndexHeadsMax, kHidden, OutputFormat::kFloat);
  auto* latent_codes = image.Zeros<std::uint8_t>(rows * kQRank);
  auto* latent_scales = image.Zeros<std::uint8_t>(rows * kQRank / 128);
  auto* query_latent = static_cast<std::uint16_t*>(latents_.query.output);
  latents_.query_norm = {query_latent,
                         image.Gain(kQRank),
                         kEpsilon,
                         rows_,
                         kQRank,
                         image.Zeros<std::uint16_t>(rows * kQRank),
                         latent_codes,
                         latent_scales};
  const auto* window_slots =
      image.Each<std::int32_t>(rows, [&](int row) { return (context + row) % kWindowSlots; });
  latents_.entry_write = {static_cast<const std::uint16_t*>(latents_.entry.output),
                          image.Gain(kHeadDim),
                          rope,
                          kEpsilon,
                          rows_,
                          window,
                          window_slots};
  const auto* positions = image.Each<std::int32_t>(rows, [&](int row) { return context + row; });
  const auto* none = image.Zeros<std::int32_t>(rows);
  const int completed = rows_ / kRatio;
  const auto* boundary_rows =
      image.Each<std::int32_t>(rows, [](int i) { return i * kRatio + kRatio - 1; });
  const auto* completed_slots = image.Each<std::int32_t>(rows, [&](int i) { return entries + i; });
  const auto compressor = [&](const LinearArguments& projected, int dim) {
    const int width = 2 * dim;
    CompressArguments a{};
    a.rows = {static_cast<const float*>(projected.output),
              image.Filled<float>(static_cast<std::size_t>(kRatio * width), 0.25F),
              positions,
              none,
              none,
              image.Filled<float>(static_cast<std::size_t>(kRingSlots * 2 * width), 0.5F),
              0,
              kRingSlots,
              kRatio,
              width};
    a.boundary_rows = boundary_rows;
    a.slots = completed_slots;
    a.entries = completed;
    a.gain = image.Gain(static_cast<std::size_t>(dim));
    a.rope = rope;
    a.epsilon = kEpsilon;
    return a;
  };
  latents_.entries = compressor(latents_.compressor, kHeadDim);
  latents_.entries.pages = compressed;
  latents_.ring = {latents_.entries.rows, rows_};
  latents_.keys = compressor(latents_.index_compressor, kIndexDim);
  latents_.keys.index = keys;
  latents_.key_ring = {latents_.keys.rows, rows_};
  latents_.arrivals = image.Zeros<std::int32_t>(4);

  const auto from_latent = [&](int n) {
    LinearArguments a = product(WeightFormat::kE4m3, n, kQRank, OutputFormat::kBf16);
    a.activation = latent_codes;
    a.activation_scale = latent_scales;
    return a;
  };
  queries_.query = from_latent(kHeads * kHeadDim);
  queries_.index_query = from_latent(kIndexHeadsMax * kIndexDim);
  auto* q = static_cast<std::uint16_t*>(queries_.query.output);
  queries_.prepare = {q, rope, kEpsilon, rows_, kHeads};
  auto* index_codes = image.Zeros<std::uint8_t>(rows * kIndexHeadsMax * kIndexCodeBytes);
  auto* index_scales = image.Zeros<std::uint8_t>(rows * kIndexHeadsMax * kIndexScaleBytes);
  queries_.index = {static_cast<const std::uint16_t*>(queries_.index_query.output),
                    rope,
                    rows_,
                    kIndexHeadsMax,
                    index_codes,
                    index_scales};
  queries_.arrivals = image.Zeros<std::int32_t>(kHeads + kIndexHeadsMax);

  const std::int64_t stride = std::int64_t{pages} * kPageEntries;
  const auto* visible =
      image.Each<std::int32_t>(rows, [&](int row) { return (context + row + 1) / kRatio; });
  auto* scores = image.Zeros<float>(rows * static_cast<std::size_t>(stride));
  auto* chosen = image.Zeros<std::int32_t>(rows * kTopK);
  select_.score = {index_codes,
                   index_scales,
                   static_cast<const float*>(latents_.index_weights.output),
                   1 / std::sqrt(static_cast<float>(kIndexDim * kIndexHeadsMax)),
                   rows_,
                   kIndexHeadsMax,
                   keys,
                   table,
                   pages,
                   visible,
                   scores,
                   stride};
  select_.top_k = {scores, stride, visible, chosen, rows_, kTopK};
  const std::size_t candidates = rows * static_cast<std::size_t>(TopKCandidates(select_.top_k));
  select_.top_k.candidates = image.Zeros<std::int32_t>(candidates);
  select_.top_k.candidate_scores = image.Zeros<float>(candidates);
  select_.top_k.arrivals = image.Zeros<std::int32_t>(rows);
  select_.arrivals =
      image.Zeros<std::int32_t>(rows * static_cast<std::size_t>(TopKParts(select_.top_k)));

  attention_.q = q;
  attention_.window = window;
  attention_.window_slots = image.Each<std::int32_t>(rows * kWindow, [&](int i) {
    return (context + i / kWindow + i % kWindow + 1 + kWindowSlots - kWindow) % kWindowSlots;
  });
  attention_.window_count = image.Filled<std::int32_t>(rows, kWindow);
  attention_.window_max = kWindow;
  attention_.compressed = compressed;
  attention_.compressed_slots = chosen;
  attention_.page_table = table;
  attention_.pages_max = pages;
  attention_.compressed_count = image.Each<std::int32_t>(
      rows, [&](int row) { return std::min(kTopK, (context + row + 1) / kRatio); });
  attention_.compressed_max = kTopK;
  attention_.sink = image.Filled<float>(kHeads, 0.5F);
  attention_.rope = rope;
  attention_.rows = rows_;
  attention_.heads = kHeads;
  const std::size_t splits = rows * static_cast<std::size_t>(SplitsOf(attention_)) * kHeads;
  attention_.partial = image.Zeros<float>(splits * kHeadDim);
  attention_.partial_stats = image.Zeros<float>(splits * 2);
  attention_.out = image.Zeros<std::uint16_t>(rows * kHeads * kHeadDim);

  output_.product = product(
      WeightFormat::kE4m3, kOGroups * kORank, kHeads * kHeadDim / kOGroups, OutputFormat::kBf16);
  output_.product.activation_format = ActivationFormat::kBf16;
  output_.product.activation = attention_.out;
  output_.product.activation_scale = nullptr;
  output_.product.groups = kOGroups;
  constexpr int kWidth = kOGroups * kORank;
  output_.quantize = {static_cast<const std::uint16_t*>(output_.product.output),
                      rows_,
                      kWidth,
                      image.Zeros<std::uint8_t>(rows * kWidth),
                      image.Zeros<std::uint8_t>(rows * kWidth / 128)};
  output_.arrivals = image.Zeros<std::int32_t>(kWidth / 128);
  output_projection_ = product(WeightFormat::kE4m3, kHidden, kWidth, OutputFormat::kFloat);
  output_projection_.activation = output_.quantize.quantized;
  output_projection_.activation_scale = output_.quantize.scale;
  output_projection_.output = const_cast<float*>(post_mix_attention_.post.partial_sums);
}

void DecodeLayer::PlaceExperts(Image& image) {
  const auto rows = static_cast<std::size_t>(rows_);
  const RmsNormArguments& input = pre_feed_forward_.norm;
  auto* logits = image.Zeros<float>(rows * kExperts);
  route_.product = {WeightFormat::kBf16,
                    ActivationFormat::kBf16,
                    OutputFormat::kFloat,
                    nullptr,
                    nullptr,
                    kExperts,
                    kHidden,
                    input.normalized,
                    nullptr,
                    1,
                    logits,
                    rows_};
  auto* ids = image.Zeros<std::int32_t>(rows * kChoices);
  auto* weights = image.Zeros<float>(rows * kChoices);
  route_.router = {
      logits, image.Zeros<float>(kExperts), nullptr, 1.5F, rows_, kExperts, kChoices, ids, weights};
  auto* offsets = image.Zeros<std::int32_t>(kExperts + 1);
  auto* order = image.Zeros<std::int32_t>(rows * kChoices);
  auto* active = image.Zeros<std::int32_t>(kExperts);
  auto* active_count = image.Zeros<std::int32_t>(1);
  route_.grouping = {ids, rows_, kChoices, 0, kExperts, offsets, order, active, active_count};
  route_.arrivals = image.Zeros<std::int32_t>(1);

  const Grouping routed{offsets, order, active, active_count, kExperts};
  const Grouping everyone{image.Values<std::int32_t>({0, rows_}),
                          image.Each<std::int32_t>(rows, [](int row) { return row; }),
                          image.Zeros<std::int32_t>(1),
                          image.Values<std::int32_t>({1}),
                          1};
  const auto* scale = image.Filled<std::uint8_t>(ScaleBytesMax(), kWeightScale);
  struct Hidden {
    std::uint8_t* codes;
    std::uint8_t* scales;
    float* y;
  };
  const auto hidden = [&](std::size_t assignments) {
    return Hidden{image.Zeros<std::uint8_t>(assignments * kIntermediate),
                  image.Zeros<std::uint8_t>(assignments * kIntermediate / 128),
                  image.Zeros<float>(assignments * kHidden)};
  };
  const Hidden of_routed = hidden(rows * kChoices);
  const Hidden of_shared = hidden(rows);
  const auto up = [&](WeightFormat format,
                      const Grouping& grouping,
                      const float* row_weights,
                      int choices,
                      const Hidden& t) {
    return GateUpArguments{format,
                           nullptr,
                           scale,
                           nullptr,
                           scale,
                           kHidden,
                           kIntermediate,
                           grouping,
                           input.quantized,
                           input.scale,
                           row_weights,
                           10.0F,
                           rows_,
                           choices,
                           t.codes,
                           t.scales};
  };
  const auto down =
      [&](WeightFormat format, const Grouping& grouping, int choices, const Hidden& t) {
        return DownArguments{format,
                             nullptr,
                             scale,
                             kHidden,
                             kIntermediate,
                             grouping,
                             t.codes,
                             t.scales,
                             rows_,
                             choices,
                             t.y};
      };
  experts_up_ = {up(WeightFormat::kE2m1, routed, weights, kChoices, of_routed),
                 up(WeightFormat::kE4m3, everyone, nullptr, 1, of_shared)};
  experts_down_ = {down(WeightFormat::kE2m1, routed, kChoices, of_routed),
                   down(WeightFormat::kE4m3, everyone, 1, of_shared),
                   {of_routed.y,
                    ids,
                    0,
                    kExperts,
                    of_shared.y,
                    false,
                    rows_,
                    kChoices,
                    kHidden,
                    const_cast<float*>(post_mix_attention_.post.partial_sums)},
                   image.Zeros<std::int32_t>(kHidden / 128)};
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
