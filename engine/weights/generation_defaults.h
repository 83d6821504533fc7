#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/weights/model_shape.h"

namespace sparkspan::engine::weights {

// How the checkpoint's authors mean it to be run; a request's own values win.
struct GenerationDefaults {
  std::vector<std::int64_t> eos_ids;  // any of them ends a text; at least one, below vocabulary
  bool sample = true;                 // false: greedy
  double temperature = 1.0;
  double top_p = 1.0;
  // Tokens a sequence may have: the smaller of max_position_embeddings (config.json) and
  // model_max_length (tokenizer_config.json).
  std::int64_t context_tokens_max = 0;
};

// Reads generation_config.json and tokenizer_config.json of the folder; both may be absent, then
// config.json alone counts.
absl::StatusOr<GenerationDefaults> ReadGenerationDefaults(const std::filesystem::path& folder,
                                                          const ModelShape& shape);

// The same of the files' texts; an empty text stands for an absent file.
absl::StatusOr<GenerationDefaults> ParseGenerationDefaults(std::string_view config,
                                                           std::string_view generation,
                                                           std::string_view tokenizer,
                                                           const ModelShape& shape);

}  // namespace sparkspan::engine::weights
