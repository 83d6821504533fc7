#include "deploy/cli/weight_traffic.h"

#include <span>

namespace sparkspan::deploy::cli {
namespace {

using engine::model::LayerParts;
using engine::model::ModelParts;
using kernels::StoredFormat;
using kernels::StoredWeight;

double BytesOf(const StoredWeight& weight) {
  if (weight.empty()) {
    return 0.0;
  }
  std::int64_t scales = 0;
  if (weight.format == StoredFormat::kE4m3) {
    const auto blocks = [](std::int64_t offset, std::int64_t size) {
      return (offset + size + kernels::kScaleBlock - 1) / kernels::kScaleBlock;
    };
    scales = blocks(weight.row_offset, weight.rows) * blocks(weight.column_offset, weight.columns);
  } else if (weight.format == StoredFormat::kE2m1) {
    scales = weight.rows * (weight.columns / kernels::kNibbleScaleGroup);
  }
  return static_cast<double>(weight.rows * weight.row_bytes() + scales);
}

template <typename Value>
double BytesOf(std::span<const Value> values) {
  return static_cast<double>(values.size_bytes());
}

double BytesOf(const kernels::ExpertWeights& expert) {
  return BytesOf(expert.gate) + BytesOf(expert.up) + BytesOf(expert.down);
}

double BytesOf(const kernels::HyperConnectionWeights& site) {
  return BytesOf(site.fn) + BytesOf(site.base) + BytesOf(site.scale);
}

double CompressorBytes(const kernels::CompressorWeights& compressor, bool completes) {
  // One row of `ape`: the place in the group that is being filled.
  const auto row = static_cast<double>(compressor.wkv.rows * 4);
  return BytesOf(compressor.wkv) + BytesOf(compressor.wgate) + row +
         (completes ? BytesOf(compressor.norm) : 0.0);
}

double AttentionBytes(const LayerParts& layer, const ModelParts& parts, std::int64_t position) {
  const kernels::AttentionWeights& attention = layer.attention;
  double bytes = BytesOf(attention.wq_a) + BytesOf(attention.q_norm) + BytesOf(attention.wq_b) +
                 BytesOf(attention.wkv) + BytesOf(attention.kv_norm) + BytesOf(attention.sink) +
                 BytesOf(attention.wo_a) + BytesOf(attention.wo_b);
  if (layer.ratio == 0) {
    return bytes;
  }
  const bool completes = (position + 1) % layer.ratio == 0;
  bytes += CompressorBytes(attention.compressor, completes);
  if (layer.ratio == kernels::kOverlapRatio) {
    bytes += CompressorBytes(attention.index_compressor, completes);
    if ((position + 1) / layer.ratio > parts.shape.index_topk) {
      bytes += BytesOf(attention.index_wq_b) + BytesOf(attention.index_weights);
    }
  }
  return bytes;
}

// Any expert is as likely as another: exact where every rank holds a stretch of each, and summed
// over the ranks where they are dealt whole.
double RoutedBytes(const LayerParts& layer, const ModelParts& parts) {
  double held = 0.0;
  for (const kernels::ExpertWeights& expert : layer.moe.experts) {
    held += BytesOf(expert);
  }
  return held * parts.shape.experts_per_token / parts.shape.experts;
}

double RouterBytes(const LayerParts& layer, const ModelParts& parts) {
  const bool hashed = !layer.moe.table.empty();
  const double choice = hashed ? 4.0 * parts.shape.experts_per_token : BytesOf(layer.moe.bias);
  return BytesOf(layer.moe.router) + choice;
}

}  // namespace

WeightTraffic& WeightTraffic::operator+=(const WeightTraffic& other) {
  attention += other.attention;
  experts += other.experts;
  shared += other.shared;
  streams += other.streams;
  head += other.head;
  return *this;
}

WeightTraffic WeightTraffic::Over(double count) const {
  return {attention / count, experts / count, shared / count, streams / count, head / count};
}

WeightTraffic WeightTrafficOf(const ModelParts& parts, std::int64_t position) {
  WeightTraffic traffic;
  for (const LayerParts& layer : parts.layers) {
    traffic.attention += AttentionBytes(layer, parts, position);
    traffic.experts += RoutedBytes(layer, parts);
    traffic.shared += BytesOf(layer.moe.shared) + RouterBytes(layer, parts);
    traffic.streams += BytesOf(layer.attention_site) + BytesOf(layer.attention_norm) +
                       BytesOf(layer.moe_site) + BytesOf(layer.moe_norm);
  }
  traffic.streams += BytesOf(parts.collapse) + BytesOf(parts.norm);
  // The row of the token, on the rank that holds it.
  const double share =
      static_cast<double>(parts.embedding.rows) / static_cast<double>(parts.vocabulary);
  traffic.streams += share * static_cast<double>(parts.embedding.row_bytes());
  traffic.head = BytesOf(parts.head);
  return traffic;
}

}  // namespace sparkspan::deploy::cli
