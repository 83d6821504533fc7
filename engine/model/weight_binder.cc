#include "engine/model/weight_binder.h"

#include <cstring>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "kernels/numerics/formats.h"

namespace sparkspan::engine::model {
namespace {

using kernels::StoredFormat;
using kernels::StoredWeight;
using weights::Dtype;
using weights::TensorSlice;

StoredFormat FormatOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return StoredFormat::kF32;
    case Dtype::kBf16:
      return StoredFormat::kBf16;
    case Dtype::kE4m3:
      return StoredFormat::kE4m3;
    case Dtype::kI8:
      return StoredFormat::kE2m1;
    case Dtype::kI64:
    case Dtype::kE8m0:
      break;
  }
  CHECK(false) << "a tensor of " << weights::DtypeName(dtype) << " is no weight";
  return StoredFormat::kF32;
}

}  // namespace

WeightBinder::WeightBinder(const weights::RankWeights& loaded,
                           std::deque<std::vector<float>>* widened,
                           std::deque<std::vector<std::int32_t>>* tables)
    : loaded_(loaded), widened_(*widened), tables_(*tables) {}

const TensorSlice& WeightBinder::Slice(const std::string& name) const {
  const TensorSlice* slice = loaded_.Find(name);
  CHECK(slice != nullptr) << name;
  return *slice;
}

StoredWeight WeightBinder::Weight(const std::string& name) const {
  const TensorSlice& slice = Slice(name);
  StoredWeight weight;
  weight.format = FormatOf(slice.spec.dtype);
  weight.rows = slice.rows.size();
  weight.columns = slice.columns.size();
  weight.data = loaded_.BytesOf(slice).data();
  return weight;
}

StoredWeight WeightBinder::Scaled(const std::string& name) const {
  if (loaded_.Find(name + ".weight") == nullptr) {
    return {};
  }
  StoredWeight weight = Weight(name + ".weight");
  const TensorSlice& scale = Slice(name + ".scale");
  weight.scales = reinterpret_cast<const std::uint8_t*>(loaded_.BytesOf(scale).data());
  weight.scale_columns = scale.stored_columns.size();
  if (weight.format == StoredFormat::kE4m3) {
    weight.row_offset = static_cast<int>(scale.rows.begin % kernels::kScaleBlock);
    weight.column_offset = static_cast<int>(scale.columns.begin % kernels::kScaleBlock);
  }
  return weight;
}

std::span<const float> WeightBinder::Vector(const std::string& name) {
  const TensorSlice& slice = Slice(name);
  const std::span<const std::byte> bytes = loaded_.BytesOf(slice);
  if (slice.spec.dtype == Dtype::kF32) {
    return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / 4};
  }
  CHECK(slice.spec.dtype == Dtype::kBf16) << name;
  std::vector<float>& values = widened_.emplace_back(bytes.size() / 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t code;
    std::memcpy(&code, &bytes[2 * i], 2);
    values[i] = kernels::numerics::FloatOfBf16(code);
  }
  return values;
}

std::span<const std::int32_t> WeightBinder::Table(const std::string& name) {
  const std::span<const std::byte> bytes = loaded_.BytesOf(Slice(name));
  std::vector<std::int32_t>& ids = tables_.emplace_back(bytes.size() / 8);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::int64_t id;
    std::memcpy(&id, &bytes[8 * i], 8);
    ids[i] = static_cast<std::int32_t>(id);
  }
  return ids;
}

kernels::HyperConnectionWeights WeightBinder::Site(const std::string& prefix) {
  return {Weight(prefix + "_fn"), Vector(prefix + "_base"), Vector(prefix + "_scale")};
}

kernels::CompressorWeights WeightBinder::Compressor(const std::string& prefix) {
  return {Weight(prefix + "wkv.weight"),
          Weight(prefix + "wgate.weight"),
          Vector(prefix + "ape"),
          Vector(prefix + "norm.weight")};
}

kernels::AttentionWeights WeightBinder::Attention(const std::string& prefix, int ratio) {
  kernels::AttentionWeights attention;
  attention.wq_a = Scaled(prefix + "wq_a");
  attention.q_norm = Vector(prefix + "q_norm.weight");
  attention.wq_b = Scaled(prefix + "wq_b");
  attention.wkv = Scaled(prefix + "wkv");
  attention.kv_norm = Vector(prefix + "kv_norm.weight");
  attention.sink = Vector(prefix + "attn_sink");
  attention.wo_a = Scaled(prefix + "wo_a");
  attention.wo_b = Scaled(prefix + "wo_b");
  attention.wo_b_whole = loaded_.share().ranks == 1;
  if (ratio != 0) {
    attention.compressor = Compressor(prefix + "compressor.");
  }
  if (ratio == kernels::kOverlapRatio) {
    attention.index_wq_b = Scaled(prefix + "indexer.wq_b");
    attention.index_weights = Weight(prefix + "indexer.weights_proj.weight");
    attention.index_compressor = Compressor(prefix + "indexer.compressor.");
  }
  return attention;
}

kernels::ExpertWeights WeightBinder::Expert(const std::string& prefix) const {
  return {Scaled(prefix + "w1"), Scaled(prefix + "w3"), Scaled(prefix + "w2")};
}

kernels::MoeWeights WeightBinder::Moe(const std::string& prefix, bool hashed) {
  const bool whole_rank = loaded_.share().ranks == 1;
  kernels::MoeWeights moe;
  moe.router = Weight(prefix + "gate.weight");
  if (hashed) {
    moe.table = Table(prefix + "gate.tid2eid");
  } else {
    moe.bias = Vector(prefix + "gate.bias");
  }
  for (int expert = 0; expert < loaded_.shape().ops.experts; ++expert) {
    moe.experts.push_back(Expert(absl::StrFormat("%sexperts.%d.", prefix, expert)));
  }
  moe.shared = Expert(prefix + "shared_experts.");
  moe.experts_whole = loaded_.share().experts_whole || whole_rank;
  moe.shared_whole = whole_rank;
  return moe;
}

LayerParts WeightBinder::Block(const std::string& prefix, int ratio, bool hashed) {
  LayerParts block;
  block.ratio = ratio;
  block.attention_site = Site(prefix + "hc_attn");
  block.attention_norm = Vector(prefix + "attn_norm.weight");
  block.attention = Attention(prefix + "attn.", ratio);
  block.moe_site = Site(prefix + "hc_ffn");
  block.moe_norm = Vector(prefix + "ffn_norm.weight");
  block.moe = Moe(prefix + "ffn.", hashed);
  return block;
}

std::vector<std::int64_t> WeightBinder::VocabularyShares() const {
  const int ranks = loaded_.share().ranks;
  std::vector<std::int64_t> shares;
  for (int rank = 0; rank < ranks; ++rank) {
    shares.push_back(weights::ShareOf(loaded_.shape().vocabulary, rank, ranks).size());
  }
  return shares;
}

}  // namespace sparkspan::engine::model
