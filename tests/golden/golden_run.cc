#include "tests/golden/golden_run.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/base/status.h"
#include "engine/collective/local_communicator.h"
#include "engine/model/bind_weights.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::tests {

GoldenSet LoadGoldenSet(const std::filesystem::path& folder) {
  GoldenSet set;
  set.checkpoint = engine::weights::Checkpoint::Open(folder).value();
  set.vectors = std::make_shared<const GoldenTensors>(folder / "vectors.safetensors");
  nlohmann::json cases;
  std::ifstream(folder / "vectors.json") >> cases;
  for (const auto& [name, prompt] : cases.at("prompts").items()) {
    set.prompts[name] = {prompt.at("tokens"), prompt.at("decode_tokens")};
  }
  return set;
}

std::unique_ptr<engine::model::Model> WholeModel(const GoldenSet& set,
                                                 const engine::model::ModelOptions& options) {
  return engine::model::Model::Create(
             engine::model::BindWeights(*engine::weights::LoadRank(*set.checkpoint, {}).value()),
             options,
             nullptr)
      .value();
}

RunOutput RunPrompt(const GoldenSet& set, const std::string& prompt, const RunOptions& options) {
  const std::vector<engine::Token> tokens = set.Tokens(prompt);
  const std::vector<engine::Token> decode = set.DecodeTokens(prompt);
  RunOutput output;
  output.digests.resize(static_cast<std::size_t>(options.ranks));
  const auto body = [&](int rank, engine::collective::Communicator* communicator) -> absl::Status {
    const engine::weights::RankShare share{rank,
                                           options.ranks,
                                           options.experts_whole,
                                           engine::weights::WidthUnitOf(options.model.numerics)};
    ASSIGN_OR_RETURN(const auto loaded, engine::weights::LoadRank(*set.checkpoint, share));
    ASSIGN_OR_RETURN(auto model,
                     engine::model::Model::Create(
                         engine::model::BindWeights(*loaded), options.model, communicator));
    const std::int32_t blocks =
        engine::cache::KvPool::BlocksFor(static_cast<std::int64_t>(tokens.size() + decode.size()));
    auto pool = *engine::cache::KvPool::Create(model->cache_layout(), blocks);
    engine::cache::SequenceState state(model->cache_layout());
    std::vector<std::int32_t> table(static_cast<std::size_t>(blocks));
    std::iota(table.rbegin(), table.rend(), 0);  // Blocks in an order that is not theirs.
    engine::model::ForwardResult result;
    const auto step = [&](std::size_t position,
                          std::span<const engine::Token> rows,
                          bool logits) -> absl::Status {
      engine::model::ForwardTrace trace;
      engine::model::ForwardOptions forward;
      forward.trace = options.trace ? &trace : nullptr;
      const engine::model::SequenceSpan span{
          &state,
          table,
          static_cast<std::int64_t>(position),
          rows,
          logits ? engine::model::LogitsRows::kLast : engine::model::LogitsRows::kNone};
      RETURN_IF_ERROR(model->Forward({&span, 1}, *pool, forward, &result));
      output.digests[static_cast<std::size_t>(rank)].push_back(result.digest);
      if (rank == 0) {
        output.traces.push_back(std::move(trace));
        output.trace_rows.push_back(rows.size());
      }
      return absl::OkStatus();
    };
    const std::span<const engine::Token> all = tokens;
    for (std::size_t begin = 0; begin < all.size(); begin += options.chunk) {
      const std::size_t size = std::min(options.chunk, all.size() - begin);
      RETURN_IF_ERROR(step(begin, all.subspan(begin, size), begin + size == all.size()));
    }
    if (rank == 0) {
      output.prefill_logits = result.logits;
    }
    for (std::size_t i = 0; i < decode.size(); ++i) {
      RETURN_IF_ERROR(step(tokens.size() + i, {&decode[i], 1}, true));
      if (rank == 0) {
        output.decode_logits.insert(
            output.decode_logits.end(), result.logits.begin(), result.logits.end());
      }
    }
    return absl::OkStatus();
  };
  const absl::Status status = engine::collective::RunRankThreads(options.ranks, body);
  if (!status.ok()) {
    throw std::runtime_error(std::string(status.message()));
  }
  return output;
}

}  // namespace sparkspan::tests
