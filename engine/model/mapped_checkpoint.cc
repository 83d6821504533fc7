#include "engine/model/mapped_checkpoint.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::engine::model {
namespace {

using nlohmann::json;

constexpr std::uint64_t kHeaderBytesMax = std::uint64_t{100} << 20;
constexpr std::uint64_t kConfigBytesMax = std::uint64_t{1} << 20;
constexpr std::size_t kDimensionsMax = 4;

// A size of config.json: an integer within [low, high].
absl::Status ReadSize(const json& config, const char* key, int low, int high, int* out) {
  const auto found = config.find(key);
  if (found == config.end() || !found->is_number_integer() || found->get<std::int64_t>() < low ||
      found->get<std::int64_t>() > high) {
    return absl::InvalidArgumentError(
        absl::StrFormat("config.json: %s must be an integer from %d to %d", key, low, high));
  }
  *out = found->get<int>();
  return absl::OkStatus();
}

absl::Status ReadNumber(const json& config, const char* key, float* out) {
  const auto found = config.find(key);
  if (found == config.end() || !found->is_number()) {
    return absl::InvalidArgumentError(absl::StrFormat("config.json: %s must be a number", key));
  }
  *out = found->get<float>();
  return absl::OkStatus();
}

absl::Status ReadYarn(const json& config, kernels::OpsShape* shape) {
  const auto yarn = config.find("rope_scaling");
  if (yarn == config.end() || !yarn->is_object()) {
    return absl::OkStatus();  // No stretching.
  }
  int original = 0;
  RETURN_IF_ERROR(ReadNumber(*yarn, "factor", &shape->yarn_factor));
  RETURN_IF_ERROR(ReadSize(*yarn, "original_max_position_embeddings", 1, 1 << 30, &original));
  RETURN_IF_ERROR(ReadNumber(*yarn, "beta_fast", &shape->yarn_beta_fast));
  RETURN_IF_ERROR(ReadNumber(*yarn, "beta_slow", &shape->yarn_beta_slow));
  shape->yarn_original_positions = original;
  return absl::OkStatus();
}

absl::Status ReadRatios(const json& config, int layers, std::vector<int>* ratios) {
  const auto found = config.find("compress_ratios");
  if (found == config.end() || !found->is_array() ||
      found->size() < static_cast<std::size_t>(layers)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "config.json: compress_ratios must list at least num_hidden_layers = %d ratios", layers));
  }
  for (int layer = 0; layer < layers; ++layer) {
    const json& ratio = (*found)[static_cast<std::size_t>(layer)];
    if (ratio != 0 && ratio != kernels::kOverlapRatio && ratio != kernels::kDenseRatio) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "config.json: compress_ratios[%d] is %s: must be 0, 4 or 128", layer, ratio.dump()));
    }
    ratios->push_back(ratio.get<int>());
  }
  return absl::OkStatus();
}

absl::Status ReadConfig(const json& config, CheckpointConfig* out) {
  constexpr int kLarge = 1 << 24;
  kernels::OpsShape& shape = out->shape;
  int layers = 0;
  int vocabulary = 0;
  int expert_width = 0;
  const std::tuple<const char*, int, int, int*> sizes[] = {
      {"num_hidden_layers", 1, 1024, &layers},
      {"vocab_size", 1, kLarge, &vocabulary},
      {"hidden_size", 128, 1 << 16, &shape.hidden},
      {"hc_mult", 1, 8, &shape.streams},
      {"hc_sinkhorn_iters", 1, 1000, &shape.sinkhorn_iterations},
      {"q_lora_rank", 128, 1 << 16, &shape.q_lora},
      {"head_dim", 64, 1 << 12, &shape.head_dim},
      {"qk_rope_head_dim", 16, 1 << 10, &shape.rope_dim},
      {"num_attention_heads", 1, 1 << 12, &shape.heads},
      {"o_groups", 1, 1 << 12, &shape.groups},
      {"o_lora_rank", 128, 1 << 16, &shape.o_lora},
      {"sliding_window", 1, 1 << 16, &shape.window},
      {"index_n_heads", 1, 1 << 12, &shape.index_heads},
      {"index_head_dim", 32, 1 << 10, &shape.index_dim},
      {"index_topk", 1, 1 << 16, &shape.index_topk},
      {"n_routed_experts", 1, 1 << 14, &shape.experts},
      {"num_experts_per_tok", 1, 256, &shape.experts_per_token},
      {"moe_intermediate_size", 128, 1 << 18, &expert_width},
      {"num_hash_layers", 0, 1024, &out->hash_layers}};
  for (const auto& [key, low, high, target] : sizes) {
    RETURN_IF_ERROR(ReadSize(config, key, low, high, target));
  }
  RETURN_IF_ERROR(ReadNumber(config, "hc_eps", &shape.sinkhorn_epsilon));
  RETURN_IF_ERROR(ReadNumber(config, "rms_norm_eps", &shape.norm_epsilon));
  RETURN_IF_ERROR(ReadNumber(config, "routed_scaling_factor", &shape.route_scale));
  RETURN_IF_ERROR(ReadNumber(config, "rope_theta", &shape.rope_theta));
  RETURN_IF_ERROR(ReadNumber(config, "compress_rope_theta", &shape.compress_rope_theta));
  if (config.contains("swiglu_limit") && !config["swiglu_limit"].is_null()) {
    RETURN_IF_ERROR(ReadNumber(config, "swiglu_limit", &shape.swiglu_limit));
  }
  RETURN_IF_ERROR(ReadYarn(config, &shape));
  RETURN_IF_ERROR(ReadRatios(config, layers, &out->ratios));
  out->vocabulary = vocabulary;
  out->expert_width = expert_width;
  const bool aligned =
      shape.hidden % 128 == 0 && shape.q_lora % 128 == 0 && shape.o_lora % 128 == 0 &&
      expert_width % 128 == 0 && shape.heads % shape.groups == 0 && shape.rope_dim % 16 == 0 &&
      (shape.head_dim - shape.rope_dim) % 64 == 0 && shape.head_dim % 64 == 0 &&
      (shape.index_dim & (shape.index_dim - 1)) == 0 && shape.rope_dim <= shape.index_dim &&
      shape.experts_per_token <= shape.experts;
  if (!aligned) {
    return absl::InvalidArgumentError(
        "config.json: hidden_size, q_lora_rank, o_lora_rank and moe_intermediate_size must be "
        "multiples of 128, head_dim and head_dim - qk_rope_head_dim of 64, num_attention_heads of "
        "o_groups, and "
        "index_head_dim a power of two not below qk_rope_head_dim");
  }
  return absl::OkStatus();
}

absl::StatusOr<json> ReadJson(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error || size > kConfigBytesMax) {
    return absl::NotFoundError(
        absl::StrFormat("%s is missing or larger than %d bytes", file.string(), kConfigBytesMax));
  }
  std::ifstream stream(file);
  json parsed = json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) {
    return absl::InvalidArgumentError(absl::StrFormat("%s is not a JSON object", file.string()));
  }
  return parsed;
}

std::size_t ElementBytes(const std::string& dtype) {
  if (dtype == "I64") {
    return 8;
  }
  if (dtype == "F32") {
    return 4;
  }
  return dtype == "BF16" ? 2 : 1;
}

// One entry of a safetensors header, its bytes inside `data`.
absl::StatusOr<TensorView> ReadEntry(const json& entry, std::span<const std::byte> data) {
  const auto malformed = [] {
    return absl::InvalidArgumentError("a malformed entry of the header");
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
      !entry.contains("shape") || !entry["shape"].is_array() ||
      entry["shape"].size() > kDimensionsMax || !entry.contains("data_offsets") ||
      !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2) {
    return malformed();
  }
  TensorView view;
  view.dtype = entry["dtype"].get<std::string>();
  std::uint64_t bytes = ElementBytes(view.dtype);
  for (const json& extent : entry["shape"]) {
    if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() > (std::uint64_t{1} << 40) ||
        __builtin_mul_overflow(bytes, extent.get<std::uint64_t>(), &bytes)) {
      return malformed();
    }
    view.shape.push_back(extent.get<std::int64_t>());
  }
  const json& begin = entry["data_offsets"][0];
  const json& end = entry["data_offsets"][1];
  if (!begin.is_number_unsigned() || !end.is_number_unsigned() ||
      end.get<std::uint64_t>() > data.size() ||
      begin.get<std::uint64_t>() > end.get<std::uint64_t>() ||
      end.get<std::uint64_t>() - begin.get<std::uint64_t>() != bytes) {
    return malformed();
  }
  view.bytes = data.subspan(begin.get<std::size_t>(), bytes);
  return view;
}

std::string ShapeText(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t extent : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  }
  return text + "]";
}

}  // namespace

MappedCheckpoint::~MappedCheckpoint() {
  for (const Mapping& mapping : mappings_) {
    munmap(mapping.address, mapping.size);
  }
}

absl::Status MappedCheckpoint::MapShard(const std::filesystem::path& file) {
  const auto refuse = [&](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s", file.string(), why));
  };
  const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info;
  if (fd.get() < 0 || fstat(fd.get(), &info) != 0 || info.st_size < 8) {
    return refuse("cannot be read, or is shorter than a safetensors header");
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) {
    return refuse("cannot be mapped");
  }
  mappings_.push_back({address, size});
  const std::span<const std::byte> file_bytes(static_cast<const std::byte*>(address), size);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, address, sizeof(header_bytes));
  if (header_bytes > kHeaderBytesMax || header_bytes > size - 8) {
    return refuse("its header is longer than the file or than 100 MiB: truncated?");
  }
  const auto* text = static_cast<const char*>(address) + 8;
  const json header = json::parse(text, text + header_bytes, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) {
    return refuse("its header is not a JSON object");
  }
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      continue;
    }
    absl::StatusOr<TensorView> view = ReadEntry(entry, file_bytes.subspan(8 + header_bytes));
    if (!view.ok()) {
      return refuse(absl::StrFormat("tensor %s: %s", name, view.status().message()));
    }
    if (!tensors_.emplace(name, *std::move(view)).second) {
      return refuse(absl::StrFormat("tensor %s is in another file too", name));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const MappedCheckpoint>> MappedCheckpoint::Open(
    const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const json config, ReadJson(folder / "config.json"));
  const std::shared_ptr<MappedCheckpoint> checkpoint(new MappedCheckpoint());
  RETURN_IF_ERROR(ReadConfig(config, &checkpoint->config_));
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".safetensors" &&
        entry.path().filename().string().starts_with("model")) {
      files.push_back(entry.path());
    }
  }
  if (files.empty()) {
    return absl::NotFoundError(
        absl::StrFormat("%s has no model*.safetensors files", folder.string()));
  }
  std::sort(files.begin(), files.end());
  for (const std::filesystem::path& file : files) {
    RETURN_IF_ERROR(checkpoint->MapShard(file));
  }
  return std::shared_ptr<const MappedCheckpoint>(checkpoint);
}

absl::StatusOr<TensorView> MappedCheckpoint::Find(const std::string& name,
                                                  std::string_view dtypes,
                                                  std::span<const std::int64_t> shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return absl::NotFoundError(
        absl::StrFormat("the checkpoint has no tensor %s: is a file missing?", name));
  }
  const TensorView& view = found->second;
  const std::string alternatives = "|" + std::string(dtypes) + "|";
  if (alternatives.find("|" + view.dtype + "|") == std::string::npos ||
      !std::equal(shape.begin(), shape.end(), view.shape.begin(), view.shape.end())) {
    return absl::InvalidArgumentError(absl::StrFormat("tensor %s is %s %s, expected %s %s",
                                                      name,
                                                      view.dtype,
                                                      ShapeText(view.shape),
                                                      dtypes,
                                                      ShapeText(shape)));
  }
  return view;
}

}  // namespace sparkspan::engine::model
