// A safetensors file of arbitrary bytes beside a sound config.json, mapped and assembled; and the
// same bytes as config.json.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "engine/model/assemble_parts.h"
#include "engine/model/mapped_checkpoint.h"

namespace {

constexpr const char* kConfig = R"({
  "num_hidden_layers": 1, "vocab_size": 4, "hidden_size": 128, "hc_mult": 1,
  "hc_sinkhorn_iters": 1, "q_lora_rank": 128, "head_dim": 128, "qk_rope_head_dim": 64,
  "num_attention_heads": 1, "o_groups": 1, "o_lora_rank": 128, "sliding_window": 1,
  "index_n_heads": 1, "index_head_dim": 64, "index_topk": 1, "n_routed_experts": 1,
  "num_experts_per_tok": 1, "moe_intermediate_size": 128, "num_hash_layers": 0, "hc_eps": 1e-6,
  "rms_norm_eps": 1e-6, "routed_scaling_factor": 1.0, "rope_theta": 1e4,
  "compress_rope_theta": 1e4, "compress_ratios": [0]})";

const std::filesystem::path& Folder() {
  static const auto* folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "fuzz-checkpoint-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      std::abort();
    }
    std::atexit([] { std::filesystem::remove_all(Folder()); });
    return new std::filesystem::path(name);
  }();
  return *folder;
}

void Try(const std::string& config, const std::string& shard) {
  std::ofstream(Folder() / "config.json", std::ios::binary) << config;
  std::ofstream(Folder() / "model.safetensors", std::ios::binary) << shard;
  const auto checkpoint = sparkspan::engine::model::MappedCheckpoint::Open(Folder());
  if (checkpoint.ok()) {
    (void)sparkspan::engine::model::AssembleParts(*checkpoint, {});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Try(kConfig, bytes);
  Try(bytes, "");
  return 0;
}
