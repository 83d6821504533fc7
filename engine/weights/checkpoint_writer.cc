#include "engine/weights/checkpoint_writer.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "engine/base/hash.h"
#include "engine/base/status.h"
#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"
#include "engine/weights/random_weights.h"
#include "kernels/stored_weight.h"

namespace sparkspan::engine::weights {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kBlockBytes = std::size_t{4} << 20;
constexpr int kThreadsMax = 16;

// Element types in the order in which published shards have them; FP8 and FP4 weights mix.
int OrderOf(Dtype dtype) {
  return dtype == Dtype::kI8 ? static_cast<int>(Dtype::kE4m3) : static_cast<int>(dtype);
}

absl::Status WriteAll(int fd, const std::filesystem::path& file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return absl::UnavailableError(
          absl::StrFormat("%s: cannot be written (%s); free space or name another folder",
                          file.string(),
                          std::strerror(errno)));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status WriteText(const std::filesystem::path& file, const std::string& text) {
  std::ofstream stream(file, std::ios::binary);
  stream << text << '\n';
  stream.close();
  return stream ? absl::OkStatus()
                : absl::UnavailableError(absl::StrFormat(
                      "%s: cannot be written; name a folder that exists", file.string()));
}

// The header with its length in front.
std::string HeaderOf(std::span<const TensorSpec> specs) {
  ordered_json header = ordered_json::object();
  header["__metadata__"] = {{"format", "pt"}};
  std::int64_t offset = 0;
  for (const TensorSpec& spec : specs) {
    header[spec.name] = {{"dtype", std::string(DtypeName(spec.dtype))},
                         {"shape", spec.shape},
                         {"data_offsets", {offset, offset + spec.bytes()}}};
    offset += spec.bytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFF);
  }
  return length + text;
}

// A float as the shortest decimal that reads back as the same float.
double Shortest(float value) {
  for (int digits = 6; digits < 9; ++digits) {
    const double decimal = std::stod(absl::StrFormat("%.*g", digits, value));
    if (static_cast<float>(decimal) == value) {
      return decimal;
    }
  }
  return static_cast<double>(value);
}

// Tensors by shard, in the published order of shards.
std::vector<std::vector<TensorSpec>> ShardsOf(const ModelShape& shape, bool single_file) {
  const int layers = shape.layers();
  const auto stages = static_cast<std::size_t>(shape.draft_stages);
  std::vector<std::vector<TensorSpec>> shards(
      single_file ? 1 : static_cast<std::size_t>(layers) + 2 + stages);
  for (TensorSpec& spec : ExpectedTensors(shape)) {
    std::size_t shard = static_cast<std::size_t>(layers) + 1;  // norm, head and its collapse
    int layer = 0;
    if (spec.name == "embed.weight") {
      shard = 0;
    } else if (std::sscanf(spec.name.c_str(), "layers.%d.", &layer) == 1) {
      shard = static_cast<std::size_t>(layer) + 1;
    } else if (const int stage = StageOfName(spec.name); stage >= 0) {
      shard += static_cast<std::size_t>(stage) + 1;
    }
    shards[single_file ? 0 : shard].push_back(std::move(spec));
  }
  return shards;
}

}  // namespace

absl::Status WriteSafetensors(const std::filesystem::path& file,
                              std::vector<TensorSpec> specs,
                              const TensorSource& source) {
  std::sort(specs.begin(), specs.end(), [](const TensorSpec& a, const TensorSpec& b) {
    const int left = OrderOf(a.dtype);
    const int right = OrderOf(b.dtype);
    return left != right ? left < right : a.name < b.name;
  });
  const UniqueFd fd(open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) {
    return absl::UnavailableError(
        absl::StrFormat("%s: cannot be created (%s); name a folder that "
                        "exists and can be written",
                        file.string(),
                        std::strerror(errno)));
  }
  // Small tensors are gathered, so that a shard is written in large blocks whatever its tensors.
  std::vector<std::byte> block(kBlockBytes);
  const std::string header = HeaderOf(specs);
  RETURN_IF_ERROR(WriteAll(fd.get(), file, std::as_bytes(std::span(header))));
  std::size_t used = 0;
  for (const TensorSpec& spec : specs) {
    const auto bytes = static_cast<std::uint64_t>(spec.bytes());
    for (std::uint64_t offset = 0; offset < bytes;) {
      if (kBlockBytes - used < 8) {
        RETURN_IF_ERROR(WriteAll(fd.get(), file, std::span(block).first(used)));
        used = 0;
      }
      // All but the last part of a tensor are multiples of 8.
      const std::uint64_t room = (kBlockBytes - used) / 8 * 8;
      const auto part = static_cast<std::size_t>(std::min(bytes - offset, room));
      source(spec, offset, std::span(block).subspan(used, part));
      used += part;
      offset += part;
    }
  }
  return WriteAll(fd.get(), file, std::span(block).first(used));
}

absl::Status GenerateCheckpoint(const ModelShape& shape,
                                const std::filesystem::path& folder,
                                const GenerateOptions& options) {
  if (options.threads < 1 || options.threads > kThreadsMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("threads is %d: give 1 to %d", options.threads, kThreadsMax));
  }
  const std::string config = ConfigJson(shape);
  RETURN_IF_ERROR(ParseModelShape("the shape to generate", config).status());
  RETURN_IF_ERROR(WriteText(folder / "config.json", config));
  RETURN_IF_ERROR(WriteText(folder / "generation_config.json",
                            ordered_json({{"bos_token_id", 0},
                                          {"eos_token_id", 1},
                                          {"do_sample", true},
                                          {"temperature", 1.0},
                                          {"top_p", 1.0}})
                                .dump(2)));
  std::vector<std::vector<TensorSpec>> shards = ShardsOf(shape, options.single_file);
  std::vector<std::string> names;
  ordered_json map = ordered_json::object();
  std::int64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    names.push_back(options.single_file
                        ? "model.safetensors"
                        : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size()));
    for (const TensorSpec& spec : shards[i]) {
      map[spec.name] = names[i];
      total += spec.bytes();
    }
  }
  if (!options.single_file) {
    const ordered_json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
    RETURN_IF_ERROR(WriteText(folder / "model.safetensors.index.json", index.dump()));
  }
  const RandomWeights source(options.seed, shape.ops.experts);
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  absl::Status why;
  const auto write = [&] {
    for (std::size_t i = next++; i < shards.size(); i = next++) {
      const absl::Status status = WriteSafetensors(
          folder / names[i],
          std::move(shards[i]),
          [&](const TensorSpec& spec, std::uint64_t offset, std::span<std::byte> out) {
            source.Fill(spec, offset, out);
          });
      const std::lock_guard lock(mutex);
      why.Update(status);
    }
  };
  {
    std::vector<Thread> threads;
    for (int i = 1; i < options.threads; ++i) {
      threads.emplace_back(absl::StrFormat("generate-%d", i), write);
    }
    write();
  }
  return why;
}

std::string ConfigJson(const ModelShape& shape) {
  const kernels::OpsShape& ops = shape.ops;
  std::vector<int> ratios = shape.ratios;
  ratios.resize(ratios.size() + static_cast<std::size_t>(std::max<std::int64_t>(
                                    shape.stage_ratios, shape.draft_stages)));
  ordered_json config = {{"architectures", {"DeepseekV4ForCausalLM"}},
                         {"model_type", "deepseek_v4"},
                         {"bos_token_id", 0},
                         {"eos_token_id", 1},
                         {"vocab_size", shape.vocabulary},
                         {"hidden_size", ops.hidden},
                         {"num_hidden_layers", shape.layers()},
                         {"num_hash_layers", shape.hash_layers},
                         {"compress_ratios", ratios},
                         {"num_attention_heads", ops.heads},
                         {"num_key_value_heads", 1},
                         {"head_dim", ops.head_dim},
                         {"qk_rope_head_dim", ops.rope_dim},
                         {"q_lora_rank", ops.q_lora},
                         {"o_groups", ops.groups},
                         {"o_lora_rank", ops.o_lora},
                         {"sliding_window", ops.window},
                         {"index_n_heads", ops.index_heads},
                         {"index_head_dim", ops.index_dim},
                         {"index_topk", ops.index_topk},
                         {"hc_mult", ops.streams},
                         {"hc_sinkhorn_iters", ops.sinkhorn_iterations},
                         {"hc_eps", Shortest(ops.sinkhorn_epsilon)},
                         {"rms_norm_eps", Shortest(ops.norm_epsilon)},
                         {"n_routed_experts", ops.experts},
                         {"n_shared_experts", 1},
                         {"num_experts_per_tok", ops.experts_per_token},
                         {"moe_intermediate_size", shape.expert_width},
                         {"routed_scaling_factor", Shortest(ops.route_scale)},
                         {"swiglu_limit", Shortest(ops.swiglu_limit)},
                         {"hidden_act", "silu"},
                         {"scoring_func", "sqrtsoftplus"},
                         {"topk_method", "noaux_tc"},
                         {"norm_topk_prob", true},
                         {"tie_word_embeddings", false},
                         {"attention_bias", false},
                         {"expert_dtype", "fp4"},
                         {"torch_dtype", "bfloat16"},
                         {"num_nextn_predict_layers", 1},
                         {"max_position_embeddings", shape.positions_max},
                         {"rope_theta", Shortest(ops.rope_theta)},
                         {"compress_rope_theta", Shortest(ops.compress_rope_theta)}};
  if (ops.yarn_factor > 0.0f) {
    config["rope_scaling"] = {{"type", "yarn"},
                              {"factor", Shortest(ops.yarn_factor)},
                              {"original_max_position_embeddings", ops.yarn_original_positions},
                              {"beta_fast", Shortest(ops.yarn_beta_fast)},
                              {"beta_slow", Shortest(ops.yarn_beta_slow)}};
  }
  config["quantization_config"] = {
      {"quant_method", "fp8"},
      {"fmt", "e4m3"},
      {"scale_fmt", "ue8m0"},
      {"activation_scheme", "dynamic"},
      {"weight_block_size", {kernels::kScaleBlock, kernels::kScaleBlock}}};
  if (shape.dspark) {
    config["dspark_block_size"] = shape.dspark->block_size;
    config["dspark_markov_rank"] = shape.dspark->markov_rank;
    config["dspark_noise_token_id"] = shape.dspark->noise_token;
    config["dspark_target_layer_ids"] = shape.dspark->target_layers;
  }
  return config.dump(2);
}

}  // namespace sparkspan::engine::weights
