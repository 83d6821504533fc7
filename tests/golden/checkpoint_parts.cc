#include "tests/golden/checkpoint_parts.h"

#include <fstream>

namespace sparkspan::tests {
namespace {

using engine::model::LayerParts;
using engine::model::ModelParts;
using kernels::StoredFormat;
using kernels::StoredWeight;

// What views of one rank point into, beside the checkpoint.
struct Storage {
  std::shared_ptr<const GoldenCheckpoint> checkpoint;
  std::deque<std::vector<std::byte>> columns;
};

class PartsBuilder {
 public:
  PartsBuilder(std::shared_ptr<const GoldenCheckpoint> checkpoint, const RankShare& share)
      : checkpoint_(*checkpoint), share_(share), storage_(std::make_shared<Storage>()) {
    storage_->checkpoint = std::move(checkpoint);
  }

  ModelParts Build() {
    FillShape();
    const int vocabulary = checkpoint_.Int("vocab_size");
    parts_.vocabulary = vocabulary;
    for (int rank = 0; rank < share_.ranks; ++rank) {
      RankShare other = share_;
      other.rank = rank;
      const ShareRange range = ShareOf(vocabulary, other);
      parts_.vocabulary_shares.push_back(range.end - range.begin);
    }
    const ShareRange rows = ShareOf(vocabulary, share_);
    parts_.embedding = Rows("embed.weight", rows.begin, rows.end);
    parts_.head = Rows("head.weight", rows.begin, rows.end);
    parts_.norm = Vector("norm.weight");
    parts_.collapse = Site("hc_head");
    for (int layer = 0; layer < checkpoint_.Int("num_hidden_layers"); ++layer) {
      parts_.layers.push_back(Layer(layer));
    }
    parts_.storage = storage_;
    return std::move(parts_);
  }

 private:
  void FillShape() {
    kernels::OpsShape& shape = parts_.shape;
    const auto number = [&](const char* key) { return checkpoint_.config.at(key).get<float>(); };
    shape.hidden = checkpoint_.Int("hidden_size");
    shape.streams = checkpoint_.Int("hc_mult");
    shape.sinkhorn_iterations = checkpoint_.Int("hc_sinkhorn_iters");
    shape.sinkhorn_epsilon = number("hc_eps");
    shape.norm_epsilon = number("rms_norm_eps");
    shape.q_lora = checkpoint_.Int("q_lora_rank");
    shape.head_dim = checkpoint_.Int("head_dim");
    shape.rope_dim = checkpoint_.Int("qk_rope_head_dim");
    groups_ = ShareOf(checkpoint_.Int("o_groups"), share_);
    heads_per_group_ = checkpoint_.Int("num_attention_heads") / checkpoint_.Int("o_groups");
    shape.groups = groups_.end - groups_.begin;
    shape.heads = shape.groups * heads_per_group_;
    shape.o_lora = checkpoint_.Int("o_lora_rank");
    shape.window = checkpoint_.Int("sliding_window");
    shape.index_heads = checkpoint_.Int("index_n_heads");
    shape.index_dim = checkpoint_.Int("index_head_dim");
    shape.index_topk = checkpoint_.Int("index_topk");
    shape.experts = checkpoint_.Int("n_routed_experts");
    shape.experts_per_token = checkpoint_.Int("num_experts_per_tok");
    shape.route_scale = number("routed_scaling_factor");
    shape.swiglu_limit = number("swiglu_limit");
    shape.rope_theta = number("rope_theta");
    shape.compress_rope_theta = number("compress_rope_theta");
    const nlohmann::json& yarn = checkpoint_.config.at("rope_scaling");
    shape.yarn_factor = yarn.at("factor");
    shape.yarn_original_positions = yarn.at("original_max_position_embeddings");
    shape.yarn_beta_fast = yarn.at("beta_fast");
    shape.yarn_beta_slow = yarn.at("beta_slow");
  }

  std::span<const float> Vector(const std::string& name) {
    return parts_.widened.emplace_back(checkpoint_.Tensor(name).Floats());
  }

  StoredWeight Whole(const std::string& name) {
    return Rows(name, 0, static_cast<int>(checkpoint_.Tensor(name).shape[0]));
  }

  // Output rows [begin, end).
  StoredWeight Rows(const std::string& name, int begin, int end) {
    const GoldenTensor& tensor = checkpoint_.Tensor(name);
    StoredWeight weight;
    weight.format = tensor.dtype == "F32"    ? StoredFormat::kF32
                    : tensor.dtype == "BF16" ? StoredFormat::kBf16
                    : tensor.dtype == "I8"   ? StoredFormat::kE2m1
                                             : StoredFormat::kE4m3;
    weight.columns = tensor.shape[1] * (weight.format == StoredFormat::kE2m1 ? 2 : 1);
    weight.rows = end - begin;
    weight.data = tensor.bytes.data() + begin * weight.row_bytes();
    if (weight.format == StoredFormat::kE4m3 || weight.format == StoredFormat::kE2m1) {
      const GoldenTensor& scale =
          checkpoint_.Tensor(name.substr(0, name.size() - std::string("weight").size()) + "scale");
      weight.scale_columns = scale.shape[1];
      weight.scales = reinterpret_cast<const std::uint8_t*>(scale.bytes.data());
      const bool nibbles = weight.format == StoredFormat::kE2m1;
      weight.scales += (nibbles ? begin : begin / 128) * weight.scale_columns;
      weight.row_offset = nibbles ? 0 : begin % 128;
    }
    return weight;
  }

  // Input columns [begin, end), which do not lie together: copied.
  StoredWeight Columns(const std::string& name, int begin, int end) {
    StoredWeight weight = Whole(name);
    const std::int64_t row_bytes = weight.row_bytes();
    const bool nibbles = weight.format == StoredFormat::kE2m1;
    const std::int64_t first = nibbles ? begin / 2 : begin;
    const std::int64_t last = nibbles ? end / 2 : end;
    std::vector<std::byte>& copy = storage_->columns.emplace_back();
    for (std::int64_t row = 0; row < weight.rows; ++row) {
      copy.insert(copy.end(),
                  weight.data + row * row_bytes + first,
                  weight.data + row * row_bytes + last);
    }
    weight.data = copy.data();
    weight.columns = end - begin;
    weight.scales += begin / (nibbles ? 32 : 128);
    weight.column_offset = nibbles ? 0 : begin % 128;
    return weight;
  }

  kernels::HyperConnectionWeights Site(const std::string& prefix) {
    return {Whole(prefix + "_fn"), Vector(prefix + "_base"), Vector(prefix + "_scale")};
  }

  kernels::CompressorWeights Compressor(const std::string& prefix) {
    return {Whole(prefix + "wkv.weight"),
            Whole(prefix + "wgate.weight"),
            Vector(prefix + "ape"),
            Vector(prefix + "norm.weight")};
  }

  kernels::AttentionWeights Attention(const std::string& prefix, int ratio) {
    kernels::AttentionWeights weights;
    const int head_dim = parts_.shape.head_dim;
    const int o_lora = parts_.shape.o_lora;
    const int first_head = groups_.begin * heads_per_group_;
    const int end_head = groups_.end * heads_per_group_;
    weights.wq_a = Whole(prefix + "wq_a.weight");
    weights.q_norm = Vector(prefix + "q_norm.weight");
    weights.wq_b = Rows(prefix + "wq_b.weight", first_head * head_dim, end_head * head_dim);
    weights.wkv = Whole(prefix + "wkv.weight");
    weights.kv_norm = Vector(prefix + "kv_norm.weight");
    weights.sink = Vector(prefix + "attn_sink")
                       .subspan(static_cast<std::size_t>(first_head),
                                static_cast<std::size_t>(end_head - first_head));
    weights.wo_a = Rows(prefix + "wo_a.weight", groups_.begin * o_lora, groups_.end * o_lora);
    weights.wo_b = Columns(prefix + "wo_b.weight", groups_.begin * o_lora, groups_.end * o_lora);
    weights.wo_b_whole = share_.ranks == 1;
    if (ratio != 0) {
      weights.compressor = Compressor(prefix + "compressor.");
    }
    if (ratio == 4) {
      weights.index_wq_b = Whole(prefix + "indexer.wq_b.weight");
      weights.index_weights = Whole(prefix + "indexer.weights_proj.weight");
      weights.index_compressor = Compressor(prefix + "indexer.compressor.");
    }
    return weights;
  }

  kernels::ExpertWeights Expert(const std::string& prefix, int begin, int end) {
    if (begin == end) {
      return {};
    }
    return {Rows(prefix + "w1.weight", begin, end),
            Rows(prefix + "w3.weight", begin, end),
            Columns(prefix + "w2.weight", begin, end)};
  }

  kernels::MoeWeights Moe(const std::string& prefix) {
    kernels::MoeWeights weights;
    weights.router = Whole(prefix + "gate.weight");
    if (checkpoint_.Has(prefix + "gate.tid2eid")) {
      std::vector<std::int32_t>& table = parts_.tables.emplace_back();
      for (const std::int64_t id : checkpoint_.Tensor(prefix + "gate.tid2eid").As<std::int64_t>()) {
        table.push_back(static_cast<std::int32_t>(id));
      }
      weights.table = table;
    } else {
      weights.bias = Vector(prefix + "gate.bias");
    }
    const int width = checkpoint_.Int("moe_intermediate_size");
    const ShareRange units = ShareOf(width / share_.unit, share_);
    const ShareRange slice{units.begin * share_.unit, units.end * share_.unit};
    const int experts = checkpoint_.Int("n_routed_experts");
    const ShareRange own = ShareOf(experts, share_);
    for (int e = 0; e < experts; ++e) {
      const std::string expert = prefix + "experts." + std::to_string(e) + ".";
      if (!share_.experts_whole) {
        weights.experts.push_back(Expert(expert, slice.begin, slice.end));
      } else if (e >= own.begin && e < own.end) {
        weights.experts.push_back(Expert(expert, 0, width));
      } else {
        weights.experts.emplace_back();
      }
    }
    weights.shared = Expert(prefix + "shared_experts.", slice.begin, slice.end);
    weights.experts_whole = share_.experts_whole || share_.ranks == 1;
    weights.shared_whole = share_.ranks == 1;
    return weights;
  }

  LayerParts Layer(int index) {
    const std::string prefix = "layers." + std::to_string(index) + ".";
    LayerParts layer;
    layer.ratio = checkpoint_.config.at("compress_ratios").at(static_cast<std::size_t>(index));
    layer.attention_site = Site(prefix + "hc_attn");
    layer.attention_norm = Vector(prefix + "attn_norm.weight");
    layer.attention = Attention(prefix + "attn.", layer.ratio);
    layer.moe_site = Site(prefix + "hc_ffn");
    layer.moe_norm = Vector(prefix + "ffn_norm.weight");
    layer.moe = Moe(prefix + "ffn.");
    return layer;
  }

  const GoldenCheckpoint& checkpoint_;
  RankShare share_;
  std::shared_ptr<Storage> storage_;
  ModelParts parts_;
  ShareRange groups_;
  int heads_per_group_ = 0;
};

}  // namespace

GoldenCheckpoint::GoldenCheckpoint(const std::filesystem::path& folder) {
  std::ifstream(folder / "config.json") >> config;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("model-") &&
        entry.path().extension() == ".safetensors") {
      shards.emplace_back(entry.path());
    }
  }
}

bool GoldenCheckpoint::Has(const std::string& name) const {
  for (const GoldenTensors& shard : shards) {
    if (shard.Has(name)) {
      return true;
    }
  }
  return false;
}

const GoldenTensor& GoldenCheckpoint::Tensor(const std::string& name) const {
  for (const GoldenTensors& shard : shards) {
    if (shard.Has(name)) {
      return shard[name];
    }
  }
  throw std::runtime_error("no tensor " + name);
}

ShareRange ShareOf(int count, const RankShare& share) {
  return {count * share.rank / share.ranks, count * (share.rank + 1) / share.ranks};
}

engine::model::ModelParts MakeParts(std::shared_ptr<const GoldenCheckpoint> checkpoint,
                                    const RankShare& share) {
  return PartsBuilder(std::move(checkpoint), share).Build();
}

}  // namespace sparkspan::tests
