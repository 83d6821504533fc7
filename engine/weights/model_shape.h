#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/ops.h"

// What config.json says of a DeepSeek-V4 checkpoint. Sizes, ratios, thetas and taps are free within
// the limits of model_shape.cc, the one place that states what the kernels need of them; what the
// architecture fixes is checked, and what we do not run is refused by name.
namespace sparkspan::engine::weights {

// The draft stages a checkpoint carries; known from its tensors' names, never from config.json,
// which says one stage of every published model.
enum class DraftKind : std::uint8_t {
  kNone,
  kMtp,     // one block of next-token prediction
  kDspark,  // a block drafter of one or more stages
};

std::string_view DraftKindName(DraftKind kind);

// The dspark_* fields of config.json.
struct DsparkShape {
  int block_size = 0;              // tokens drafted at once
  int markov_rank = 0;             // of the bigram bias
  std::int64_t noise_token = 0;    // stands for the tokens not yet known
  std::vector<int> target_layers;  // whose outputs the drafter reads
};

// Sizes of the whole model.
struct ModelShape {
  kernels::OpsShape ops;
  std::vector<int> ratios;        // per layer: 0, 4 or 128
  std::int64_t stage_ratios = 0;  // entries of compress_ratios after the layers', all 0
  std::int64_t vocabulary = 0;
  std::int64_t expert_width = 0;   // of routed and shared experts
  int hash_layers = 0;             // the first layers, which route by token id
  std::int64_t positions_max = 0;  // max_position_embeddings
  std::optional<DsparkShape> dspark;
  // Set by ResolveDraft (tensor_specs.h).
  DraftKind draft = DraftKind::kNone;
  int draft_stages = 0;

  int layers() const { return static_cast<int>(ratios.size()); }
};

// `file` is named in messages.
absl::StatusOr<ModelShape> ParseModelShape(std::string file, std::string_view text);
absl::StatusOr<ModelShape> ReadModelShape(const std::filesystem::path& file);

}  // namespace sparkspan::engine::weights
