#pragma once

#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/model/model.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_share.h"
#include "tests/golden_path.h"
#include "tests/golden_tensors.h"

// Runs one prompt of the golden data: prefill in chunks, then its forced tokens one by one.
namespace sparkspan::tests {

struct GoldenSet {
  std::shared_ptr<const engine::weights::Checkpoint> checkpoint;
  std::shared_ptr<const GoldenTensors> vectors;
  struct Prompt {
    std::vector<engine::Token> tokens;
    std::vector<engine::Token> decode_tokens;
  };
  std::map<std::string, Prompt> prompts;

  const kernels::OpsShape& shape() const { return checkpoint->shape().ops; }
  std::size_t layers() const { return checkpoint->shape().ratios.size(); }
  std::size_t stream_width() const {
    return static_cast<std::size_t>(shape().streams) * static_cast<std::size_t>(shape().hidden);
  }

  // "p7" of the set: its tokens, and those forced on it afterwards.
  const std::vector<engine::Token>& Tokens(const std::string& prompt) const {
    return prompts.at(prompt).tokens;
  }
  const std::vector<engine::Token>& DecodeTokens(const std::string& prompt) const {
    return prompts.at(prompt).decode_tokens;
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

// The model of one rank that holds everything.
std::unique_ptr<engine::model::Model> WholeModel(const GoldenSet& set,
                                                 const engine::model::ModelOptions& options);

RunOutput RunPrompt(const GoldenSet& set, const std::string& prompt, const RunOptions& options);

}  // namespace sparkspan::tests
