#include <algorithm>

#include "tests/gpu/decode_image.h"
#include "tests/gpu/decode_layer.h"

// Where each launch of the layer finds its operands and leaves its results.
namespace sparkspan::kernels {

using namespace decode;

namespace {

constexpr std::uint8_t kWeightScale = 119;  // 2^-8

std::size_t ScaleBytesMax() {
  return PreparedScaleBytes(WeightFormat::kE2m1, kExperts * kIntermediate, kHidden);
}

// The shared expert's rows: all of them.
Grouping PlaceEveryone(DecodeImage& image, int rows) {
  return {image.Values<std::int32_t>({0, rows}),
          image.Each<std::int32_t>(static_cast<std::size_t>(rows), [](int row) { return row; }),
          image.Zeros<std::int32_t>(1),
          image.Values<std::int32_t>({1}),
          1};
}

}  // namespace

void DecodeLayer::PlaceArguments(DecodeImage& image, int context) {
  PlaceStreams(image);
  PlaceCache(image, context);
  PlaceLatents(image);
  PlaceCompressors(image);
  PlaceQueries(image);
  PlaceSelection(image);
  PlaceAttention(image);
  PlaceOutput(image);
  PlaceRoute(image);
  PlaceExperts(image);
}

// A product of the layer's input, its result placed beside it.
LinearArguments DecodeLayer::PlaceProduct(
    DecodeImage& image, WeightFormat format, int n, int k, OutputFormat output_format) const {
  const auto rows = static_cast<std::size_t>(rows_);
  const RmsNormArguments& input = pre_attention_.norm;
  LinearArguments a{};
  a.weight_format = format;
  a.activation_format =
      format == WeightFormat::kBf16 ? ActivationFormat::kBf16 : ActivationFormat::kE4m3;
  a.output_format = output_format;
  a.weight_scale = weight_scale_;
  a.n = n;
  a.k = k;
  a.activation =
      format == WeightFormat::kBf16 ? static_cast<const void*>(input.normalized) : input.quantized;
  a.activation_scale = input.scale;
  a.groups = 1;
  a.output =
      output_format == OutputFormat::kBf16
          ? static_cast<void*>(image.Zeros<std::uint16_t>(rows * static_cast<std::size_t>(n)))
          : image.Zeros<float>(rows * static_cast<std::size_t>(n));
  a.rows = rows_;
  return a;
}

void DecodeLayer::PlaceStreams(DecodeImage& image) {
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

// Stored entries and keys: random codes, scales near one.
void DecodeLayer::PlaceCache(DecodeImage& image, int context) {
  const auto rows = static_cast<std::size_t>(rows_);
  context_ = context;
  pages_ = context / kRatio / kPageEntries + 1;  // one more for what the rows complete
  weight_scale_ = image.Filled<std::uint8_t>(ScaleBytesMax(), kWeightScale);
  rope_ = image.Rope(rows_);
  page_table_ = image.Each<std::int32_t>(rows * static_cast<std::size_t>(pages_),
                                         [&](int i) { return i % pages_; });
  const auto stored = [&](int count, int bytes, int scales_at, int scales) {
    std::mt19937 random(static_cast<unsigned>(bytes));
    return image.Each<std::uint8_t>(
        static_cast<std::size_t>(count) * static_cast<std::size_t>(bytes), [&](int i) -> unsigned {
          const int at = i % bytes - scales_at;
          return at >= 0 && at < scales ? 124 + random() % 4
                                        : static_cast<unsigned>(SmallByte(random));
        });
  };
  window_ = {
      stored(kWindowSlots, kEntryBytes, kEntryScales, kPlainDim / kEntryGroup), 0, kWindowSlots};
  compressed_ = {stored(pages_ * kPageEntries, kEntryBytes, kEntryScales, kPlainDim / kEntryGroup),
                 std::int64_t{kPageEntries} * kEntryBytes,
                 kPageEntries};
  keys_ = {stored(pages_ * kPageEntries, kIndexKeyBytes, kIndexCodeBytes, kIndexScaleBytes),
           std::int64_t{kPageEntries} * kIndexKeyBytes,
           kPageEntries};
}

void DecodeLayer::PlaceLatents(DecodeImage& image) {
  const auto rows = static_cast<std::size_t>(rows_);
  latents_.query = PlaceProduct(image, WeightFormat::kE4m3, kQRank, kHidden, OutputFormat::kBf16);
  latents_.entry = PlaceProduct(image, WeightFormat::kE4m3, kHeadDim, kHidden, OutputFormat::kBf16);
  latents_.compressor =
      PlaceProduct(image, WeightFormat::kBf16, 4 * kHeadDim, kHidden, OutputFormat::kFloat);
  latents_.index_compressor =
      PlaceProduct(image, WeightFormat::kBf16, 4 * kIndexDim, kHidden, OutputFormat::kFloat);
  latents_.index_weights =
      PlaceProduct(image, WeightFormat::kBf16, kIndexHeadsMax, kHidden, OutputFormat::kFloat);
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
      image.Each<std::int32_t>(rows, [&](int row) { return (context_ + row) % kWindowSlots; });
  latents_.entry_write = {static_cast<const std::uint16_t*>(latents_.entry.output),
                          image.Gain(kHeadDim),
                          rope_,
                          kEpsilon,
                          rows_,
                          window_,
                          window_slots};
}

void DecodeLayer::PlaceCompressors(DecodeImage& image) {
  const auto rows = static_cast<std::size_t>(rows_);
  const int entries = context_ / kRatio;
  const auto* positions = image.Each<std::int32_t>(rows, [&](int row) { return context_ + row; });
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
    a.rope = rope_;
    a.epsilon = kEpsilon;
    return a;
  };
  latents_.entries = compressor(latents_.compressor, kHeadDim);
  latents_.entries.pages = compressed_;
  latents_.ring = {latents_.entries.rows, rows_};
  latents_.keys = compressor(latents_.index_compressor, kIndexDim);
  latents_.keys.index = keys_;
  latents_.key_ring = {latents_.keys.rows, rows_};
  latents_.arrivals = image.Zeros<std::int32_t>(4);
}

void DecodeLayer::PlaceQueries(DecodeImage& image) {
  const auto rows = static_cast<std::size_t>(rows_);
  const auto from_latent = [&](int n) {
    LinearArguments a = PlaceProduct(image, WeightFormat::kE4m3, n, kQRank, OutputFormat::kBf16);
    a.activation = latents_.query_norm.quantized;
    a.activation_scale = latents_.query_norm.scale;
    return a;
  };
  queries_.query = from_latent(kHeads * kHeadDim);
  queries_.index_query = from_latent(kIndexHeadsMax * kIndexDim);
  auto* q = static_cast<std::uint16_t*>(queries_.query.output);
  queries_.prepare = {q, rope_, kEpsilon, rows_, kHeads};
  auto* index_codes = image.Zeros<std::uint8_t>(rows * kIndexHeadsMax * kIndexCodeBytes);
  auto* index_scales = image.Zeros<std::uint8_t>(rows * kIndexHeadsMax * kIndexScaleBytes);
  queries_.index = {static_cast<const std::uint16_t*>(queries_.index_query.output),
                    rope_,
                    rows_,
                    kIndexHeadsMax,
                    index_codes,
                    index_scales};
  queries_.arrivals = image.Zeros<std::int32_t>(kHeads + kIndexHeadsMax);
}

void DecodeLayer::PlaceSelection(DecodeImage& image) {
  const auto rows = static_cast<std::size_t>(rows_);
  const std::int64_t stride = std::int64_t{pages_} * kPageEntries;
  const auto* visible =
      image.Each<std::int32_t>(rows, [&](int row) { return (context_ + row + 1) / kRatio; });
  auto* scores = image.Zeros<float>(rows * static_cast<std::size_t>(stride));
  auto* chosen = image.Zeros<std::int32_t>(rows * kTopK);
  select_.score = {queries_.index.codes,
                   queries_.index.scales,
                   static_cast<const float*>(latents_.index_weights.output),
                   1 / std::sqrt(static_cast<float>(kIndexDim * kIndexHeadsMax)),
                   rows_,
                   kIndexHeadsMax,
                   keys_,
                   page_table_,
                   pages_,
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
}

void DecodeLayer::PlaceAttention(DecodeImage& image) {
  const auto rows = static_cast<std::size_t>(rows_);
  attention_.q = queries_.prepare.q;
  attention_.window = window_;
  attention_.window_slots = image.Each<std::int32_t>(rows * kWindow, [&](int i) {
    return (context_ + i / kWindow + i % kWindow + 1 + kWindowSlots - kWindow) % kWindowSlots;
  });
  attention_.window_count = image.Filled<std::int32_t>(rows, kWindow);
  attention_.window_max = kWindow;
  attention_.compressed = compressed_;
  attention_.compressed_slots = select_.top_k.indices;
  attention_.page_table = page_table_;
  attention_.pages_max = pages_;
  attention_.compressed_count = image.Each<std::int32_t>(
      rows, [&](int row) { return std::min(kTopK, (context_ + row + 1) / kRatio); });
  attention_.compressed_max = kTopK;
  attention_.sink = image.Filled<float>(kHeads, 0.5F);
  attention_.rope = rope_;
  attention_.rows = rows_;
  attention_.heads = kHeads;
  const std::size_t splits = rows * static_cast<std::size_t>(SplitsOf(attention_)) * kHeads;
  attention_.partial = image.Zeros<float>(splits * kHeadDim);
  attention_.partial_stats = image.Zeros<float>(splits * 2);
  attention_.out = image.Zeros<std::uint16_t>(rows * kHeads * kHeadDim);
}

void DecodeLayer::PlaceOutput(DecodeImage& image) {
  const auto rows = static_cast<std::size_t>(rows_);
  output_.product = PlaceProduct(image,
                                 WeightFormat::kE4m3,
                                 kOGroups * kORank,
                                 kHeads * kHeadDim / kOGroups,
                                 OutputFormat::kBf16);
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
  output_projection_ =
      PlaceProduct(image, WeightFormat::kE4m3, kHidden, kWidth, OutputFormat::kFloat);
  output_projection_.activation = output_.quantize.quantized;
  output_projection_.activation_scale = output_.quantize.scale;
  output_projection_.output = const_cast<float*>(post_mix_attention_.post.partial_sums);
}

void DecodeLayer::PlaceRoute(DecodeImage& image) {
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
}

void DecodeLayer::PlaceExperts(DecodeImage& image) {
  const auto rows = static_cast<std::size_t>(rows_);
  const RmsNormArguments& input = pre_feed_forward_.norm;
  const GroupingArguments& made = route_.grouping;
  const Grouping routed{made.offsets, made.order, made.active, made.active_count, kExperts};
  const Grouping everyone = PlaceEveryone(image, rows_);
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
                           weight_scale_,
                           nullptr,
                           weight_scale_,
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
                             weight_scale_,
                             kHidden,
                             kIntermediate,
                             grouping,
                             t.codes,
                             t.scales,
                             rows_,
                             choices,
                             t.y};
      };
  experts_up_ = {up(WeightFormat::kE2m1, routed, route_.router.weights, kChoices, of_routed),
                 up(WeightFormat::kE4m3, everyone, nullptr, 1, of_shared)};
  experts_down_ = {down(WeightFormat::kE2m1, routed, kChoices, of_routed),
                   down(WeightFormat::kE4m3, everyone, 1, of_shared),
                   {of_routed.y,
                    made.ids,
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

}  // namespace sparkspan::kernels
