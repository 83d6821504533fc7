#pragma once

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/model/model.h"
#include "tests/golden/checkpoint_parts.h"
#include "tests/golden/rank_group.h"
#include "tests/golden_path.h"

// Runs one prompt of the golden data: prefill in chunks, then its forced tokens one by one.
namespace sparkspan::tests {

struct GoldenSet {
  std::shared_ptr<const GoldenCheckpoint> checkpoint;
  std::shared_ptr<const GoldenTensors> vectors;
  nlohmann::json cases;

  // "p7" of the set: its tokens, and those forced on it afterwards.
  std::vector<engine::Token> Tokens(const std::string& prompt) const {
    return cases.at("prompts").at(prompt).at("tokens").get<std::vector<engine::Token>>();
  }
  std::vector<engine::Token> DecodeTokens(const std::string& prompt) const {
    return cases.at("prompts").at(prompt).at("decode_tokens").get<std::vector<engine::Token>>();
  }
};

struct RunOptions {
  engine::model::ModelOptions model;
  int ranks = 1;
  bool experts_whole = false;
  std::size_t chunk = 1 << 20;
  bool trace = true;
};

struct RunOutput {
  std::vector<float> prefill_logits;  // [vocabulary]
  std::vector<float> decode_logits;   // [steps, vocabulary]
  // Of rank 0, of the prefill and of every decode step in order.
  std::vector<engine::model::ForwardTrace> traces;
  std::vector<std::size_t> trace_rows;
  // Of each rank, of each step: equal between ranks.
  std::vector<std::vector<std::uint64_t>> digests;
};

GoldenSet LoadGoldenSet(const std::filesystem::path& folder);

RunOutput RunPrompt(const GoldenSet& set, const std::string& prompt, const RunOptions& options);

}  // namespace sparkspan::tests
