#include "engine/model/assemble_parts.h"

#include <cstring>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "kernels/numerics/formats.h"

namespace sparkspan::engine::model {
namespace {

using kernels::StoredFormat;
using kernels::StoredWeight;

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
};

Range ShareOf(std::int64_t count, int rank, int ranks) {
  return {count * rank / ranks, count * (rank + 1) / ranks};
}

// What the views point into.
struct Storage {
  std::shared_ptr<const MappedCheckpoint> checkpoint;
  std::deque<std::vector<std::byte>> columns;
};

class Assembler {
 public:
  Assembler(std::shared_ptr<const MappedCheckpoint> checkpoint, const RankShare& share)
      : checkpoint_(*checkpoint),
        config_(checkpoint->config()),
        share_(share),
        storage_(std::make_shared<Storage>()) {
    storage_->checkpoint = std::move(checkpoint);
  }

  absl::StatusOr<ModelParts> Assemble() {
    const kernels::OpsShape& whole = config_.shape;
    if (share_.ranks < 1 || share_.rank < 0 || share_.rank >= share_.ranks ||
        share_.ranks > whole.groups || share_.ranks > config_.vocabulary) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "rank %d of %d: this model has %d output groups, so it runs on 1 to %d ranks",
          share_.rank,
          share_.ranks,
          whole.groups,
          whole.groups));
    }
    groups_ = ShareOf(whole.groups, share_.rank, share_.ranks);
    heads_per_group_ = whole.heads / whole.groups;
    parts_.shape = whole;
    parts_.shape.groups = static_cast<int>(groups_.size());
    parts_.shape.heads = static_cast<int>(groups_.size()) * heads_per_group_;
    parts_.vocabulary = config_.vocabulary;
    for (int rank = 0; rank < share_.ranks; ++rank) {
      parts_.vocabulary_shares.push_back(ShareOf(config_.vocabulary, rank, share_.ranks).size());
    }
    const Range rows = ShareOf(config_.vocabulary, share_.rank, share_.ranks);
    RETURN_IF_ERROR(
        Plain("embed.weight", config_.vocabulary, whole.hidden, rows, &parts_.embedding));
    RETURN_IF_ERROR(Plain("head.weight", config_.vocabulary, whole.hidden, rows, &parts_.head));
    RETURN_IF_ERROR(Vector("norm.weight", {whole.hidden}, &parts_.norm));
    RETURN_IF_ERROR(Site("hc_head", whole.streams, 1, &parts_.collapse));
    for (std::size_t layer = 0; layer < config_.ratios.size(); ++layer) {
      RETURN_IF_ERROR(Layer(static_cast<int>(layer)));
    }
    parts_.storage = storage_;
    return std::move(parts_);
  }

 private:
  absl::Status Vector(const std::string& name,
                      std::vector<std::int64_t> shape,
                      std::span<const float>* out) {
    ASSIGN_OR_RETURN(const TensorView view, checkpoint_.Find(name, "F32|BF16", shape));
    std::vector<float>& values = parts_.widened.emplace_back();
    const std::size_t width = view.dtype == "F32" ? 4 : 2;
    values.resize(view.bytes.size() / width);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (width == 4) {
        std::memcpy(&values[i], &view.bytes[4 * i], 4);
      } else {
        std::uint16_t code;
        std::memcpy(&code, &view.bytes[2 * i], 2);
        values[i] = kernels::numerics::FloatOfBf16(code);
      }
    }
    *out = values;
    return absl::OkStatus();
  }

  // Rows of an fp32 or bf16 weight.
  absl::Status Plain(const std::string& name,
                     std::int64_t rows,
                     std::int64_t columns,
                     Range range,
                     StoredWeight* out) {
    const std::int64_t shape[] = {rows, columns};
    ASSIGN_OR_RETURN(const TensorView view, checkpoint_.Find(name, "F32|BF16", shape));
    out->format = view.dtype == "F32" ? StoredFormat::kF32 : StoredFormat::kBf16;
    out->rows = range.size();
    out->columns = columns;
    out->data = view.bytes.data() + range.begin * out->row_bytes();
    return absl::OkStatus();
  }

  // Rows of a scaled weight `name`.weight [rows, columns] with `name`.scale.
  absl::Status Scaled(const std::string& name,
                      StoredFormat format,
                      std::int64_t rows,
                      std::int64_t columns,
                      Range range,
                      StoredWeight* out) {
    const bool nibbles = format == StoredFormat::kE2m1;
    const std::int64_t shape[] = {rows, nibbles ? columns / 2 : columns};
    const std::int64_t scale_shape[] = {nibbles ? rows : (rows + 127) / 128,
                                        nibbles ? columns / 32 : (columns + 127) / 128};
    ASSIGN_OR_RETURN(const TensorView view,
                     checkpoint_.Find(name + ".weight", nibbles ? "I8|U8" : "F8_E4M3", shape));
    ASSIGN_OR_RETURN(const TensorView scale,
                     checkpoint_.Find(name + ".scale", "F8_E8M0", scale_shape));
    out->format = format;
    out->rows = range.size();
    out->columns = columns;
    out->data = view.bytes.data() + range.begin * out->row_bytes();
    out->scale_columns = scale_shape[1];
    out->scales = reinterpret_cast<const std::uint8_t*>(scale.bytes.data()) +
                  (nibbles ? range.begin : range.begin / 128) * out->scale_columns;
    out->row_offset = nibbles ? 0 : static_cast<int>(range.begin % 128);
    return absl::OkStatus();
  }

  // Columns of a scaled weight, which do not lie together unless they are all of them.
  absl::Status ScaledColumns(const std::string& name,
                             StoredFormat format,
                             std::int64_t rows,
                             std::int64_t columns,
                             Range range,
                             StoredWeight* out) {
    RETURN_IF_ERROR(Scaled(name, format, rows, columns, {0, rows}, out));
    if (range.size() == columns) {
      return absl::OkStatus();
    }
    const bool nibbles = format == StoredFormat::kE2m1;
    const std::int64_t row_bytes = out->row_bytes();
    out->columns = range.size();
    const std::int64_t kept = out->row_bytes();
    std::vector<std::byte>& copy = storage_->columns.emplace_back();
    copy.resize(static_cast<std::size_t>(kept * rows));
    for (std::int64_t row = 0; row < rows; ++row) {
      std::memcpy(copy.data() + row * kept,
                  out->data + row * row_bytes + range.begin / (nibbles ? 2 : 1),
                  static_cast<std::size_t>(kept));
    }
    out->data = copy.data();
    out->scales += range.begin / (nibbles ? 32 : 128);
    out->column_offset = nibbles ? 0 : static_cast<int>(range.begin % 128);
    return absl::OkStatus();
  }

  absl::Status Site(const std::string& prefix,
                    std::int64_t coefficients,
                    std::int64_t scales,
                    kernels::HyperConnectionWeights* out) {
    const std::int64_t width = std::int64_t{config_.shape.streams} * config_.shape.hidden;
    RETURN_IF_ERROR(Plain(prefix + "_fn", coefficients, width, {0, coefficients}, &out->fn));
    RETURN_IF_ERROR(Vector(prefix + "_base", {coefficients}, &out->base));
    return Vector(prefix + "_scale", {scales}, &out->scale);
  }

  absl::Status Compressor(const std::string& prefix,
                          int ratio,
                          std::int64_t dim,
                          kernels::CompressorWeights* out) {
    const std::int64_t width = ratio == kernels::kOverlapRatio ? 2 * dim : dim;
    const std::int64_t hidden = config_.shape.hidden;
    RETURN_IF_ERROR(Plain(prefix + "wkv.weight", width, hidden, {0, width}, &out->wkv));
    RETURN_IF_ERROR(Plain(prefix + "wgate.weight", width, hidden, {0, width}, &out->wgate));
    RETURN_IF_ERROR(Vector(prefix + "ape", {ratio, width}, &out->ape));
    return Vector(prefix + "norm.weight", {dim}, &out->norm);
  }

  absl::Status Attention(const std::string& prefix, int ratio, kernels::AttentionWeights* out) {
    constexpr StoredFormat kFp8 = StoredFormat::kE4m3;
    const kernels::OpsShape& s = config_.shape;
    const std::int64_t dim = s.head_dim;
    const std::int64_t latents = std::int64_t{s.groups} * s.o_lora;
    const Range heads{groups_.begin * heads_per_group_, groups_.end * heads_per_group_};
    const Range lora{groups_.begin * s.o_lora, groups_.end * s.o_lora};
    RETURN_IF_ERROR(Scaled(prefix + "wq_a", kFp8, s.q_lora, s.hidden, {0, s.q_lora}, &out->wq_a));
    RETURN_IF_ERROR(Vector(prefix + "q_norm.weight", {s.q_lora}, &out->q_norm));
    RETURN_IF_ERROR(Scaled(prefix + "wq_b",
                           kFp8,
                           s.heads * dim,
                           s.q_lora,
                           {heads.begin * dim, heads.end * dim},
                           &out->wq_b));
    RETURN_IF_ERROR(Scaled(prefix + "wkv", kFp8, dim, s.hidden, {0, dim}, &out->wkv));
    RETURN_IF_ERROR(Vector(prefix + "kv_norm.weight", {dim}, &out->kv_norm));
    RETURN_IF_ERROR(Vector(prefix + "attn_sink", {s.heads}, &out->sink));
    out->sink = out->sink.subspan(static_cast<std::size_t>(heads.begin),
                                  static_cast<std::size_t>(heads.size()));
    RETURN_IF_ERROR(
        Scaled(prefix + "wo_a", kFp8, latents, heads_per_group_ * dim, lora, &out->wo_a));
    RETURN_IF_ERROR(ScaledColumns(prefix + "wo_b", kFp8, s.hidden, latents, lora, &out->wo_b));
    out->wo_b_whole = share_.ranks == 1;
    if (ratio != 0) {
      RETURN_IF_ERROR(Compressor(prefix + "compressor.", ratio, dim, &out->compressor));
    }
    if (ratio == kernels::kOverlapRatio) {
      const std::int64_t index_rows = std::int64_t{s.index_heads} * s.index_dim;
      RETURN_IF_ERROR(Scaled(
          prefix + "indexer.wq_b", kFp8, index_rows, s.q_lora, {0, index_rows}, &out->index_wq_b));
      RETURN_IF_ERROR(Plain(prefix + "indexer.weights_proj.weight",
                            s.index_heads,
                            s.hidden,
                            {0, s.index_heads},
                            &out->index_weights));
      RETURN_IF_ERROR(
          Compressor(prefix + "indexer.compressor.", ratio, s.index_dim, &out->index_compressor));
    }
    return absl::OkStatus();
  }

  absl::Status Expert(const std::string& prefix,
                      StoredFormat format,
                      Range stretch,
                      kernels::ExpertWeights* out) {
    if (stretch.size() == 0) {
      return absl::OkStatus();
    }
    const std::int64_t width = config_.expert_width;
    const std::int64_t hidden = config_.shape.hidden;
    RETURN_IF_ERROR(Scaled(prefix + "w1", format, width, hidden, stretch, &out->gate));
    RETURN_IF_ERROR(Scaled(prefix + "w3", format, width, hidden, stretch, &out->up));
    return ScaledColumns(prefix + "w2", format, hidden, width, stretch, &out->down);
  }

  absl::Status Table(const std::string& name, std::span<const std::int32_t>* out) {
    const std::int64_t shape[] = {config_.vocabulary, config_.shape.experts_per_token};
    ASSIGN_OR_RETURN(const TensorView view, checkpoint_.Find(name, "I64", shape));
    std::vector<std::int32_t>& table = parts_.tables.emplace_back();
    for (std::size_t i = 0; i < view.bytes.size(); i += 8) {
      std::int64_t id;
      std::memcpy(&id, &view.bytes[i], 8);
      if (id < 0 || id >= config_.shape.experts) {
        return absl::InvalidArgumentError(
            absl::StrFormat("tensor %s names expert %d of %d", name, id, config_.shape.experts));
      }
      table.push_back(static_cast<std::int32_t>(id));
    }
    *out = table;
    return absl::OkStatus();
  }

  absl::Status Moe(const std::string& prefix, bool hashed, kernels::MoeWeights* out) {
    const std::int64_t experts = config_.shape.experts;
    RETURN_IF_ERROR(
        Plain(prefix + "gate.weight", experts, config_.shape.hidden, {0, experts}, &out->router));
    RETURN_IF_ERROR(hashed ? Table(prefix + "gate.tid2eid", &out->table)
                           : Vector(prefix + "gate.bias", {experts}, &out->bias));
    const Range units =
        ShareOf(config_.expert_width / share_.width_unit, share_.rank, share_.ranks);
    const Range stretch{units.begin * share_.width_unit, units.end * share_.width_unit};
    const Range own = ShareOf(experts, share_.rank, share_.ranks);
    out->experts.resize(static_cast<std::size_t>(experts));
    for (std::int64_t e = 0; e < experts; ++e) {
      Range slice = stretch;
      if (share_.experts_whole) {
        slice = {0, e >= own.begin && e < own.end ? config_.expert_width : 0};
      }
      RETURN_IF_ERROR(Expert(prefix + absl::StrFormat("experts.%d.", e),
                             StoredFormat::kE2m1,
                             slice,
                             &out->experts[static_cast<std::size_t>(e)]));
    }
    out->experts_whole = share_.experts_whole || share_.ranks == 1;
    out->shared_whole = share_.ranks == 1;
    return Expert(prefix + "shared_experts.", StoredFormat::kE4m3, stretch, &out->shared);
  }

  absl::Status Layer(int index) {
    const std::string prefix = absl::StrFormat("layers.%d.", index);
    const kernels::OpsShape& s = config_.shape;
    const std::int64_t coefficients = std::int64_t{s.streams} * (s.streams + 2);
    LayerParts& layer = parts_.layers.emplace_back();
    layer.ratio = config_.ratios[static_cast<std::size_t>(index)];
    RETURN_IF_ERROR(Site(prefix + "hc_attn", coefficients, 3, &layer.attention_site));
    RETURN_IF_ERROR(Vector(prefix + "attn_norm.weight", {s.hidden}, &layer.attention_norm));
    RETURN_IF_ERROR(Attention(prefix + "attn.", layer.ratio, &layer.attention));
    RETURN_IF_ERROR(Site(prefix + "hc_ffn", coefficients, 3, &layer.moe_site));
    RETURN_IF_ERROR(Vector(prefix + "ffn_norm.weight", {s.hidden}, &layer.moe_norm));
    return Moe(prefix + "ffn.", index < config_.hash_layers, &layer.moe);
  }

  const MappedCheckpoint& checkpoint_;
  const CheckpointConfig& config_;
  RankShare share_;
  std::shared_ptr<Storage> storage_;
  ModelParts parts_;
  Range groups_;
  int heads_per_group_ = 0;
};

}  // namespace

absl::StatusOr<ModelParts> AssembleParts(std::shared_ptr<const MappedCheckpoint> checkpoint,
                                         const RankShare& share) {
  return Assembler(std::move(checkpoint), share).Assemble();
}

}  // namespace sparkspan::engine::model
