#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "engine/weights/checkpoint_writer.h"
#include "engine/weights/model_shape.h"

namespace sparkspan::tests {

// A folder that goes when the test does.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "checkpoint-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      std::abort();
    }
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A model with every kind of layer and sizes that few numbers of ranks divide.
inline engine::weights::ModelShape SmallShape() {
  engine::weights::ModelShape shape;
  kernels::OpsShape& ops = shape.ops;
  ops.hidden = 256;
  ops.streams = 2;
  ops.sinkhorn_iterations = 4;
  ops.sinkhorn_epsilon = 1e-6f;
  ops.norm_epsilon = 1e-6f;
  ops.q_lora = 128;
  ops.head_dim = 128;
  ops.rope_dim = 64;
  ops.heads = 16;
  ops.groups = 8;
  ops.o_lora = 128;
  ops.window = 128;
  ops.index_heads = 2;
  ops.index_dim = 64;
  ops.index_topk = 8;
  ops.experts = 5;
  ops.experts_per_token = 3;
  ops.route_scale = 1.5f;
  ops.swiglu_limit = 10.0f;
  ops.rope_theta = 10000.0f;
  ops.compress_rope_theta = 160000.0f;
  ops.yarn_factor = 16.0f;
  ops.yarn_original_positions = 512;
  ops.yarn_beta_fast = 32.0f;
  ops.yarn_beta_slow = 1.0f;
  shape.ratios = {0, 4, 128};
  shape.hash_layers = 1;
  shape.vocabulary = 67;
  shape.expert_width = 384;
  shape.positions_max = 8192;
  return shape;
}

// The same with two draft stages that read two layers.
inline engine::weights::ModelShape SmallDsparkShape() {
  engine::weights::ModelShape shape = SmallShape();
  shape.dspark = engine::weights::DsparkShape{4, 32, 66, {0, 2}};
  shape.draft = engine::weights::DraftKind::kDspark;
  shape.draft_stages = 2;
  shape.stage_ratios = 2;
  return shape;
}

inline std::string ReadText(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void WriteText(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

}  // namespace sparkspan::tests
