#include "engine/weights/model_shape.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/weights/json_object.h"

namespace sparkspan::engine::weights {
namespace {

using kernels::OpsShape;

// An integer field of config.json: its limits, and what the kernels need it to be a multiple of.
struct SizeRule {
  const char* key;
  std::int64_t low;
  std::int64_t high;
  std::int64_t multiple;
  int OpsShape::*member;
};

// Products run over groups of 128 input columns (one FP8 scale block, one group of quantised
// activations); the cache quantises the unrotated part of an entry in groups of 64; rotation works
// on pairs, eight at a time.
constexpr SizeRule kSizes[] = {
    {"hidden_size", 128, 1 << 16, 128, &OpsShape::hidden},
    {"hc_mult", 1, 8, 1, &OpsShape::streams},
    {"hc_sinkhorn_iters", 1, 1000, 1, &OpsShape::sinkhorn_iterations},
    {"q_lora_rank", 128, 1 << 16, 128, &OpsShape::q_lora},
    {"head_dim", 64, 1 << 12, 64, &OpsShape::head_dim},
    {"qk_rope_head_dim", 16, 1 << 10, 16, &OpsShape::rope_dim},
    {"num_attention_heads", 1, 1 << 12, 1, &OpsShape::heads},
    {"o_groups", 1, 1 << 12, 1, &OpsShape::groups},
    {"o_lora_rank", 128, 1 << 16, 128, &OpsShape::o_lora},
    {"sliding_window", 1, 1 << 16, 1, &OpsShape::window},
    {"index_n_heads", 1, 1 << 12, 1, &OpsShape::index_heads},
    {"index_head_dim", 32, 1 << 10, 32, &OpsShape::index_dim},
    {"index_topk", 1, 1 << 16, 1, &OpsShape::index_topk},
    {"n_routed_experts", 1, 1 << 14, 1, &OpsShape::experts},
    {"num_experts_per_tok", 1, 256, 1, &OpsShape::experts_per_token},
};
constexpr std::int64_t kLayersMax = 1024;
constexpr std::int64_t kVocabularyMax = 1 << 24;
constexpr std::int64_t kExpertWidthMultiple = 128;
constexpr std::int64_t kExpertWidthMax = 1 << 18;
constexpr std::int64_t kPositionsMax = std::int64_t{1} << 31;
constexpr std::int64_t kDraftBlockMax = 63;  // a block plus one must fit the rewindable rows
constexpr std::int64_t kMarkovRankMultiple = 32;
constexpr std::int64_t kMarkovRankMax = 1 << 16;
constexpr std::int64_t kScaleBlock = 128;

constexpr const char* kArchitecture = "DeepseekV4ForCausalLM";
constexpr const char* kModelType = "deepseek_v4";
constexpr const char* kUsePublished =
    "use DeepSeek-V4-Flash, -DSpark or -0731 as published, or a prune of its experts";

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
  });
  return lower;
}

absl::Status Unsupported(const JsonObject& config, const std::string& key, std::string_view what) {
  return config.Refuse(
      key,
      absl::StrFormat("the text model DeepSeek-V4-Flash: %s is not supported", what),
      kUsePublished);
}

absl::Status CheckArchitecture(const JsonObject& config) {
  for (const char* key : {"vision_config", "vision_encoder", "image_token_id"}) {
    if (config.Has(key)) {
      return Unsupported(config, key, "a vision model");
    }
  }
  std::vector<std::string> names;
  std::string type;
  RETURN_IF_ERROR(config.Texts("architectures", 8, &names));
  RETURN_IF_ERROR(config.Text("model_type", &type));
  for (const std::string& name : names) {
    const std::string lower = Lower(name);
    if (lower.find("vl") != std::string::npos || lower.find("vision") != std::string::npos) {
      return Unsupported(config, "architectures", "a vision model");
    }
    if (lower.find("v41") != std::string::npos || lower.find("v4_1") != std::string::npos) {
      return Unsupported(config, "architectures", "DeepSeek-V4.1");
    }
  }
  if (names != std::vector<std::string>{kArchitecture}) {
    return config.Refuse(
        "architectures", absl::StrFormat("[\"%s\"]", kArchitecture), kUsePublished);
  }
  if (type == "deepseek_v41" || type == "deepseek_v4_1") {
    return Unsupported(config, "model_type", "DeepSeek-V4.1");
  }
  if (type != kModelType) {
    return config.Refuse("model_type", kModelType, kUsePublished);
  }
  return absl::OkStatus();
}

// The number formats of the published checkpoint; others are refused by their names.
absl::Status CheckQuantisation(const JsonObject& config) {
  ASSIGN_OR_RETURN(const JsonObject quantisation, config.Object("quantization_config"));
  std::string method;
  RETURN_IF_ERROR(quantisation.Text("quant_method", &method));
  const std::pair<const char*, const char*> others[] = {
      {"gguf", "GGUF"},
      {"exl3", "EXL3"},
      {"exl2", "EXL2"},
      {"modelopt", "NVFP4 (ModelOpt)"},
      {"nvfp4", "NVFP4"},
      {"awq", "AWQ"},
      {"gptq", "GPTQ"},
      {"compressed-tensors", "compressed-tensors"},
      {"bitsandbytes", "bitsandbytes"}};
  for (const auto& [word, name] : others) {
    if (Lower(method).find(word) != std::string::npos) {
      return quantisation.Refuse(
          "quant_method",
          absl::StrFormat("fp8: checkpoints requantised as %s are not supported", name),
          kUsePublished);
    }
  }
  const std::pair<const char*, const char*> texts[] = {{"quant_method", "fp8"},
                                                       {"fmt", "e4m3"},
                                                       {"scale_fmt", "ue8m0"},
                                                       {"activation_scheme", "dynamic"}};
  for (const auto& [key, expected] : texts) {
    std::string found;
    if (!quantisation.Text(key, &found).ok() || found != expected) {
      return quantisation.Refuse(key, expected, kUsePublished);
    }
  }
  std::vector<std::int64_t> block;
  if (!quantisation.Integers("weight_block_size", 2, 1, 1 << 16, &block).ok() ||
      block != std::vector<std::int64_t>{kScaleBlock, kScaleBlock}) {
    return quantisation.Refuse(
        "weight_block_size", "[128, 128] (blocks of 32 are DeepSeek-V4.1's)", kUsePublished);
  }
  return absl::OkStatus();
}

// What config.json may say but the program has no other way of doing; absent is fine.
absl::Status CheckFixedFields(const JsonObject& config) {
  const std::pair<const char*, const char*> texts[] = {{"hidden_act", "silu"},
                                                       {"scoring_func", "sqrtsoftplus"},
                                                       {"topk_method", "noaux_tc"},
                                                       {"expert_dtype", "fp4"}};
  for (const auto& [key, expected] : texts) {
    std::string found;
    if (config.Has(key) && (!config.Text(key, &found).ok() || found != expected)) {
      return config.Refuse(key, expected, kUsePublished);
    }
  }
  const std::pair<const char*, bool> flags[] = {
      {"norm_topk_prob", true}, {"tie_word_embeddings", false}, {"attention_bias", false}};
  for (const auto& [key, expected] : flags) {
    bool found = !expected;
    if (config.Has(key) && (!config.Boolean(key, &found).ok() || found != expected)) {
      return config.Refuse(key, expected ? "true" : "false", kUsePublished);
    }
  }
  for (const char* key : {"num_key_value_heads", "n_shared_experts"}) {
    std::int64_t found = 0;
    if (config.Has(key) && !config.Integer(key, 1, 1, &found).ok()) {
      return config.Refuse(key, "1", kUsePublished);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadNumber(
    const JsonObject& object, const char* key, double low, double high, float* out) {
  double value = 0.0;
  RETURN_IF_ERROR(object.Number(key, low, high, &value));
  *out = static_cast<float>(value);
  return absl::OkStatus();
}

absl::Status ReadRotary(const JsonObject& config, OpsShape* shape) {
  RETURN_IF_ERROR(ReadNumber(config, "rope_theta", 1.0, 1e12, &shape->rope_theta));
  RETURN_IF_ERROR(
      ReadNumber(config, "compress_rope_theta", 1.0, 1e12, &shape->compress_rope_theta));
  if (!config.Has("rope_scaling")) {
    return absl::OkStatus();  // No stretching.
  }
  ASSIGN_OR_RETURN(const JsonObject yarn, config.Object("rope_scaling"));
  const char* type_key = yarn.Has("type") ? "type" : "rope_type";
  std::string type;
  if (!yarn.Text(type_key, &type).ok() || type != "yarn") {
    return yarn.Refuse(type_key, "yarn", kUsePublished);
  }
  RETURN_IF_ERROR(ReadNumber(yarn, "factor", 1.0, 1e6, &shape->yarn_factor));
  RETURN_IF_ERROR(yarn.Integer(
      "original_max_position_embeddings", 1, kPositionsMax, &shape->yarn_original_positions));
  RETURN_IF_ERROR(ReadNumber(yarn, "beta_fast", 1e-3, 1e6, &shape->yarn_beta_fast));
  return ReadNumber(yarn, "beta_slow", 1e-3, 1e6, &shape->yarn_beta_slow);
}

absl::Status ReadSizes(const JsonObject& config, ModelShape* shape) {
  for (const SizeRule& rule : kSizes) {
    std::int64_t value = 0;
    RETURN_IF_ERROR(config.Integer(rule.key, rule.low, rule.high, &value));
    if (value % rule.multiple != 0) {
      return config.Refuse(rule.key, absl::StrFormat("a multiple of %d", rule.multiple));
    }
    shape->ops.*rule.member = static_cast<int>(value);
  }
  RETURN_IF_ERROR(config.Integer("vocab_size", 1, kVocabularyMax, &shape->vocabulary));
  RETURN_IF_ERROR(config.Integer(
      "moe_intermediate_size", kExpertWidthMultiple, kExpertWidthMax, &shape->expert_width));
  if (shape->expert_width % kExpertWidthMultiple != 0) {
    return config.Refuse("moe_intermediate_size",
                         absl::StrFormat("a multiple of %d", kExpertWidthMultiple));
  }
  RETURN_IF_ERROR(
      config.Integer("max_position_embeddings", 1, kPositionsMax, &shape->positions_max));
  OpsShape& ops = shape->ops;
  RETURN_IF_ERROR(ReadNumber(config, "hc_eps", 0.0, 1.0, &ops.sinkhorn_epsilon));
  RETURN_IF_ERROR(ReadNumber(config, "rms_norm_eps", 0.0, 1.0, &ops.norm_epsilon));
  RETURN_IF_ERROR(ReadNumber(config, "routed_scaling_factor", 0.0, 1e6, &ops.route_scale));
  if (config.Has("swiglu_limit")) {
    RETURN_IF_ERROR(ReadNumber(config, "swiglu_limit", 0.0, 1e6, &ops.swiglu_limit));
  }
  return absl::OkStatus();
}

// Conditions between fields.
absl::Status CheckRelations(const JsonObject& config, const OpsShape& ops) {
  if (ops.heads % ops.groups != 0) {
    return config.Refuse("num_attention_heads",
                         absl::StrFormat("a multiple of o_groups, which is %d", ops.groups));
  }
  if (ops.rope_dim >= ops.head_dim || (ops.head_dim - ops.rope_dim) % 64 != 0) {
    return config.Refuse(
        "qk_rope_head_dim",
        absl::StrFormat("to leave a positive multiple of 64 of head_dim, which is %d",
                        ops.head_dim));
  }
  if ((ops.index_dim & (ops.index_dim - 1)) != 0 || ops.rope_dim > ops.index_dim) {
    return config.Refuse(
        "index_head_dim",
        absl::StrFormat("a power of two not below qk_rope_head_dim, which is %d", ops.rope_dim));
  }
  if (ops.experts_per_token > ops.experts) {
    return config.Refuse("num_experts_per_tok",
                         absl::StrFormat("at most n_routed_experts, which is %d", ops.experts));
  }
  return absl::OkStatus();
}

absl::Status ReadLayers(const JsonObject& config, ModelShape* shape) {
  std::int64_t layers = 0;
  std::int64_t hash_layers = 0;
  std::vector<std::int64_t> ratios;
  RETURN_IF_ERROR(config.Integer("num_hidden_layers", 1, kLayersMax, &layers));
  RETURN_IF_ERROR(config.Integer("num_hash_layers", 0, layers, &hash_layers));
  RETURN_IF_ERROR(config.Integers("compress_ratios",
                                  static_cast<std::size_t>(2 * kLayersMax),
                                  0,
                                  kernels::kDenseRatio,
                                  &ratios));
  shape->hash_layers = static_cast<int>(hash_layers);
  const auto count = static_cast<std::int64_t>(ratios.size());
  if (count < layers) {
    return config.Refuse(
        "compress_ratios",
        absl::StrFormat("an entry for each of the %d layers, found %d", layers, count));
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t ratio = ratios[static_cast<std::size_t>(i)];
    if (i >= layers && ratio != 0) {
      return config.Refuse(
          "compress_ratios",
          absl::StrFormat(
              "0 for draft stages, but entry %d after %d layers is %d", i, layers, ratio));
    }
    if (ratio != 0 && ratio != kernels::kOverlapRatio && ratio != kernels::kDenseRatio) {
      return config.Refuse("compress_ratios",
                           absl::StrFormat("0, 4 or 128, but entry %d is %d", i, ratio));
    }
    if (i < layers) {
      shape->ratios.push_back(static_cast<int>(ratio));
    }
  }
  shape->stage_ratios = count - layers;
  return absl::OkStatus();
}

absl::Status ReadDspark(const JsonObject& config, ModelShape* shape) {
  if (!config.Has("dspark_block_size")) {
    return absl::OkStatus();
  }
  DsparkShape dspark;
  std::int64_t block = 0;
  std::int64_t rank = 0;
  std::vector<std::int64_t> layers;
  RETURN_IF_ERROR(config.Integer("dspark_block_size", 1, kDraftBlockMax, &block));
  RETURN_IF_ERROR(config.Integer("dspark_markov_rank", kMarkovRankMultiple, kMarkovRankMax, &rank));
  if (rank % kMarkovRankMultiple != 0) {
    return config.Refuse("dspark_markov_rank",
                         absl::StrFormat("a multiple of %d", kMarkovRankMultiple));
  }
  RETURN_IF_ERROR(
      config.Integer("dspark_noise_token_id", 0, shape->vocabulary - 1, &dspark.noise_token));
  RETURN_IF_ERROR(config.Integers("dspark_target_layer_ids",
                                  static_cast<std::size_t>(shape->layers()),
                                  0,
                                  shape->layers() - 1,
                                  &layers));
  // The reference concatenates in order of ascending layer whatever the list's order; with an
  // ascending list there is nothing to read differently.
  if (layers.empty() ||
      std::adjacent_find(layers.begin(), layers.end(), std::greater_equal<>()) != layers.end()) {
    return config.Refuse("dspark_target_layer_ids", "at least one layer, ascending");
  }
  dspark.block_size = static_cast<int>(block);
  dspark.markov_rank = static_cast<int>(rank);
  dspark.target_layers.assign(layers.begin(), layers.end());
  shape->dspark = std::move(dspark);
  return absl::OkStatus();
}

absl::StatusOr<ModelShape> ShapeOf(const JsonObject& config) {
  ModelShape shape;
  RETURN_IF_ERROR(CheckArchitecture(config));
  RETURN_IF_ERROR(CheckQuantisation(config));
  RETURN_IF_ERROR(CheckFixedFields(config));
  RETURN_IF_ERROR(ReadSizes(config, &shape));
  RETURN_IF_ERROR(CheckRelations(config, shape.ops));
  RETURN_IF_ERROR(ReadRotary(config, &shape.ops));
  RETURN_IF_ERROR(ReadLayers(config, &shape));
  RETURN_IF_ERROR(ReadDspark(config, &shape));
  return shape;
}

}  // namespace

std::string_view DraftKindName(DraftKind kind) {
  switch (kind) {
    case DraftKind::kNone:
      return "none";
    case DraftKind::kMtp:
      return "mtp";
    case DraftKind::kDspark:
      return "dspark";
  }
  return "none";
}

absl::StatusOr<ModelShape> ParseModelShape(std::string file, std::string_view text) {
  ASSIGN_OR_RETURN(const JsonObject config, JsonObject::Parse(std::move(file), text));
  return ShapeOf(config);
}

absl::StatusOr<ModelShape> ReadModelShape(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const JsonObject config, JsonObject::Read(file));
  return ShapeOf(config);
}

}  // namespace sparkspan::engine::weights
