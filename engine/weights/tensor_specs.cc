#include "engine/weights/tensor_specs.h"

#include <charconv>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "kernels/stored_weight.h"

namespace sparkspan::engine::weights {
namespace {

using kernels::kNibbleScaleGroup;
using kernels::kScaleBlock;

// Source of names, shapes and dtypes: the headers of the published checkpoints
// (docs/formats/checkpoint.md).
class SpecList {
 public:
  explicit SpecList(const ModelShape& shape) : shape_(shape), ops_(shape.ops) {}

  std::vector<TensorSpec> Take() { return std::move(specs_); }

  void Root() {
    Plain("embed.weight", Dtype::kBf16, shape_.vocabulary, ops_.hidden, Division::kVocabularyRows);
    Plain("head.weight", Dtype::kBf16, shape_.vocabulary, ops_.hidden, Division::kVocabularyRows);
    Vector("norm.weight", Dtype::kBf16, ops_.hidden);
    Site("hc_head", ops_.streams, 1);
  }

  void Layer(int layer) {
    Block(absl::StrFormat("layers.%d.", layer),
          shape_.ratios[static_cast<std::size_t>(layer)],
          layer < shape_.hash_layers);
  }

  void Stage(int stage) {
    draft_ = true;
    const std::string prefix = absl::StrFormat("mtp.%d.", stage);
    const std::int64_t hidden = ops_.hidden;
    Block(prefix, 0, /*hashed=*/false);
    const bool last = stage == shape_.draft_stages - 1;
    if (shape_.draft == DraftKind::kMtp) {
      Fp8(prefix + "e_proj", hidden, hidden, Division::kWhole);
      Fp8(prefix + "h_proj", hidden, hidden, Division::kWhole);
      Vector(prefix + "enorm.weight", Dtype::kBf16, hidden);
      Vector(prefix + "hnorm.weight", Dtype::kBf16, hidden);
    } else if (stage == 0) {
      const auto taps = static_cast<std::int64_t>(shape_.dspark->target_layers.size());
      Fp8(prefix + "main_proj", hidden, taps * hidden, Division::kWhole);
      Vector(prefix + "main_norm.weight", Dtype::kBf16, hidden);
    }
    if (last) {
      Vector(prefix + "norm.weight", Dtype::kBf16, hidden);
      Site(prefix + "hc_head", ops_.streams, 1);
    }
    if (last && shape_.draft == DraftKind::kDspark) {
      const std::int64_t rank = shape_.dspark->markov_rank;
      // Every rank looks the previous token up, so the first is whole; the second goes with the
      // rows of the head.
      const std::string markov = prefix + "markov_head.markov_w";
      Plain(markov + "1.weight", Dtype::kBf16, shape_.vocabulary, rank, Division::kWhole);
      Plain(markov + "2.weight", Dtype::kBf16, shape_.vocabulary, rank, Division::kVocabularyRows);
      Plain(
          prefix + "confidence_head.proj.weight", Dtype::kBf16, 1, hidden + rank, Division::kWhole);
    }
    draft_ = false;
  }

 private:
  TensorSpec& Add(std::string name, Dtype dtype, std::vector<std::int64_t> stored) {
    TensorSpec& spec = specs_.emplace_back();
    spec.name = std::move(name);
    spec.dtype = dtype;
    spec.shape = std::move(stored);
    spec.rows = spec.stored_rows();
    spec.columns = spec.stored_columns();
    spec.expert = expert_;
    spec.draft = draft_;
    return spec;
  }

  void Vector(const std::string& name,
              Dtype dtype,
              std::int64_t size,
              Division division = Division::kWhole) {
    Add(name, dtype, {size}).division = division;
  }

  void Plain(const std::string& name,
             Dtype dtype,
             std::int64_t rows,
             std::int64_t columns,
             Division division = Division::kWhole) {
    Add(name, dtype, {rows, columns}).division = division;
  }

  // A scaled weight and its scales.
  void Scaled(const std::string& name,
              Dtype dtype,
              std::int64_t rows,
              std::int64_t columns,
              std::int64_t weight_columns,
              std::int64_t scale_rows,
              std::int64_t scale_columns,
              Division division) {
    TensorSpec& weight = Add(name + ".weight", dtype, {rows, columns / weight_columns});
    weight.columns = columns;
    weight.element_columns = weight_columns;
    weight.division = division;
    TensorSpec& scale =
        Add(name + ".scale",
            Dtype::kE8m0,
            {(rows + scale_rows - 1) / scale_rows, (columns + scale_columns - 1) / scale_columns});
    scale.rows = rows;
    scale.columns = columns;
    scale.element_rows = scale_rows;
    scale.element_columns = scale_columns;
    scale.division = division;
  }

  void Fp8(const std::string& name, std::int64_t rows, std::int64_t columns, Division division) {
    Scaled(name, Dtype::kE4m3, rows, columns, 1, kScaleBlock, kScaleBlock, division);
  }

  void Fp4(const std::string& name, std::int64_t rows, std::int64_t columns, Division division) {
    Scaled(name, Dtype::kI8, rows, columns, 2, 1, kNibbleScaleGroup, division);
  }

  void Site(const std::string& prefix, std::int64_t coefficients, std::int64_t scales) {
    const std::int64_t width = std::int64_t{ops_.streams} * ops_.hidden;
    Plain(prefix + "_fn", Dtype::kF32, coefficients, width);
    Vector(prefix + "_base", Dtype::kF32, coefficients);
    Vector(prefix + "_scale", Dtype::kF32, scales);
  }

  void Compressor(const std::string& prefix, int ratio, std::int64_t dim) {
    const std::int64_t width = ratio == kernels::kOverlapRatio ? 2 * dim : dim;
    Plain(prefix + "ape", Dtype::kF32, ratio, width);
    Plain(prefix + "wkv.weight", Dtype::kBf16, width, ops_.hidden);
    Plain(prefix + "wgate.weight", Dtype::kBf16, width, ops_.hidden);
    Vector(prefix + "norm.weight", Dtype::kBf16, dim);
  }

  void Attention(const std::string& prefix, int ratio) {
    const std::int64_t queries = std::int64_t{ops_.heads} * ops_.head_dim;
    const std::int64_t latents = std::int64_t{ops_.groups} * ops_.o_lora;
    Vector(prefix + "attn_sink", Dtype::kF32, ops_.heads, Division::kGroupRows);
    Fp8(prefix + "wq_a", ops_.q_lora, ops_.hidden, Division::kWhole);
    Vector(prefix + "q_norm.weight", Dtype::kBf16, ops_.q_lora);
    Fp8(prefix + "wq_b", queries, ops_.q_lora, Division::kGroupRows);
    Fp8(prefix + "wkv", ops_.head_dim, ops_.hidden, Division::kWhole);
    Vector(prefix + "kv_norm.weight", Dtype::kBf16, ops_.head_dim);
    Fp8(prefix + "wo_a", latents, queries / ops_.groups, Division::kGroupRows);
    Fp8(prefix + "wo_b", ops_.hidden, latents, Division::kGroupColumns);
    if (ratio != 0) {
      Compressor(prefix + "compressor.", ratio, ops_.head_dim);
    }
    if (ratio == kernels::kOverlapRatio) {
      Fp8(prefix + "indexer.wq_b",
          std::int64_t{ops_.index_heads} * ops_.index_dim,
          ops_.q_lora,
          Division::kWhole);
      Plain(prefix + "indexer.weights_proj.weight", Dtype::kBf16, ops_.index_heads, ops_.hidden);
      Compressor(prefix + "indexer.compressor.", ratio, ops_.index_dim);
    }
  }

  void Moe(const std::string& prefix, bool hashed) {
    const std::int64_t width = shape_.expert_width;
    const std::int64_t hidden = ops_.hidden;
    Plain(prefix + "gate.weight", Dtype::kBf16, ops_.experts, hidden);
    if (hashed) {
      Plain(prefix + "gate.tid2eid", Dtype::kI64, shape_.vocabulary, ops_.experts_per_token);
    } else {
      Vector(prefix + "gate.bias", Dtype::kF32, ops_.experts);
    }
    for (expert_ = 0; expert_ < ops_.experts; ++expert_) {
      const std::string expert = absl::StrFormat("%sexperts.%d.", prefix, expert_);
      Fp4(expert + "w1", width, hidden, Division::kWidthRows);
      Fp4(expert + "w2", hidden, width, Division::kWidthColumns);
      Fp4(expert + "w3", width, hidden, Division::kWidthRows);
    }
    expert_ = -1;
    Fp8(prefix + "shared_experts.w1", width, hidden, Division::kWidthRows);
    Fp8(prefix + "shared_experts.w2", hidden, width, Division::kWidthColumns);
    Fp8(prefix + "shared_experts.w3", width, hidden, Division::kWidthRows);
  }

  void Block(const std::string& prefix, int ratio, bool hashed) {
    const std::int64_t coefficients = std::int64_t{ops_.streams} * (ops_.streams + 2);
    Site(prefix + "hc_attn", coefficients, 3);
    Vector(prefix + "attn_norm.weight", Dtype::kBf16, ops_.hidden);
    Attention(prefix + "attn.", ratio);
    Site(prefix + "hc_ffn", coefficients, 3);
    Vector(prefix + "ffn_norm.weight", Dtype::kBf16, ops_.hidden);
    Moe(prefix + "ffn.", hashed);
  }

  const ModelShape& shape_;
  const kernels::OpsShape& ops_;
  std::vector<TensorSpec> specs_;
  int expert_ = -1;
  bool draft_ = false;
};

}  // namespace

std::vector<TensorSpec> ExpectedTensors(const ModelShape& shape) {
  SpecList list(shape);
  list.Root();
  for (int layer = 0; layer < shape.layers(); ++layer) {
    list.Layer(layer);
  }
  for (int stage = 0; stage < shape.draft_stages; ++stage) {
    list.Stage(stage);
  }
  return list.Take();
}

int StageOfName(std::string_view name) {
  constexpr std::string_view kPrefix = "mtp.";
  int stage = -1;
  if (!name.starts_with(kPrefix)) {
    return -1;
  }
  const char* begin = name.data() + kPrefix.size();
  const char* end = name.data() + name.size();
  const auto [next, error] = std::from_chars(begin, end, stage);
  return error == std::errc() && next != end && *next == '.' && stage >= 0 ? stage : -1;
}

bool IsDraftCopy(std::string_view name, const ModelShape& shape) {
  return shape.draft == DraftKind::kMtp &&
         (name == "mtp.0.head.weight" || name == "mtp.0.emb.tok_emb.weight");
}

absl::Status ResolveDraft(const std::string& folder,
                          const std::function<bool(const std::string&)>& has,
                          int stage_names,
                          ModelShape* shape) {
  const auto refuse = [&](std::string_view found, std::string_view expected) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: draft stages: %s, expected %s; use a complete checkpoint, or remove all mtp.* tensors "
        "and shards",
        folder,
        found,
        expected));
  };
  shape->draft = DraftKind::kNone;
  shape->draft_stages = 0;
  if (stage_names == 0) {
    return absl::OkStatus();
  }
  const bool dspark = has("mtp.0.main_proj.weight");
  const bool mtp = has("mtp.0.e_proj.weight");
  if (dspark == mtp) {
    return refuse(dspark ? "both mtp.0.main_proj.weight and mtp.0.e_proj.weight"
                         : "mtp.* tensors of no known kind",
                  "mtp.0.main_proj.weight (DSpark) or mtp.0.e_proj.weight (MTP)");
  }
  if (dspark && !shape->dspark) {
    return refuse("DSpark tensors, but config.json has no dspark_block_size",
                  "the dspark_* fields in config.json");
  }
  if (mtp && stage_names != 1) {
    return refuse(absl::StrFormat("%d MTP blocks", stage_names), "one");
  }
  if (stage_names > shape->stage_ratios) {
    return refuse(absl::StrFormat("%d stages, but compress_ratios in config.json has %d entries "
                                  "after the layers'",
                                  stage_names,
                                  shape->stage_ratios),
                  "an entry for each stage");
  }
  shape->draft = dspark ? DraftKind::kDspark : DraftKind::kMtp;
  shape->draft_stages = stage_names;
  return absl::OkStatus();
}

}  // namespace sparkspan::engine::weights
