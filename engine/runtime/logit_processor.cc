#include "engine/runtime/logit_processor.h"

#include <algorithm>
#include <limits>

#include "engine/base/log.h"

namespace sparkspan::engine::runtime {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// Doubles hold every sum, product and quotient of two finite floats. NaN passes through: whoever
// chooses reports it.
float ToFinite(double logit) {
  constexpr double kMost = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(logit, -kMost, kMost));
}

float Penalised(float logit,
                const SamplingParams& params,
                const TokenHistory::Occurrences& occurrences) {
  if (logit == kForbidden) {
    return logit;
  }
  const double repetition = params.repetition_penalty;
  double penalised = logit > 0 ? logit / repetition : logit * repetition;
  if (occurrences.generated > 0) {
    penalised -= double{params.frequency_penalty} * occurrences.generated;
    penalised -= double{params.presence_penalty};
  }
  return ToFinite(penalised);
}

}  // namespace

bool NeedsHistory(const SamplingParams& params) {
  return params.repetition_penalty != 1.0f || params.frequency_penalty != 0.0f ||
         params.presence_penalty != 0.0f;
}

std::span<const float> LogitProcessor::Process(std::span<const float> logits,
                                               const SamplingParams& params,
                                               const TokenHistory& history,
                                               std::int64_t generated) {
  const bool suppresses =
      generated < params.min_tokens && !params.suppressed_until_min_tokens.empty();
  const bool penalises = NeedsHistory(params) && history.size() > 0;
  const bool restricts = !params.allowed_tokens.empty();
  if (!suppresses && !penalises && !restricts && params.logit_bias.empty()) {
    return logits;
  }
  processed_.assign(logits.begin(), logits.end());
  const auto at = [&](Token token) -> float& {
    CHECK(token >= 0 && static_cast<std::size_t>(token) < processed_.size()) << token;
    return processed_[static_cast<std::size_t>(token)];
  };
  if (suppresses) {
    for (const Token token : params.suppressed_until_min_tokens) {
      at(token) = kForbidden;
    }
  }
  for (const auto [token, bias] : params.logit_bias) {
    float& logit = at(token);
    const bool forbidden = logit == kForbidden || bias == kForbidden;
    logit = forbidden ? kForbidden : ToFinite(double{logit} + bias);
  }
  if (penalises) {
    for (const auto& [token, occurrences] : history.occurrences()) {
      at(token) = Penalised(at(token), params, occurrences);
    }
  }
  if (restricts) {
    restricted_.assign(processed_.size(), kForbidden);
    for (const Token token : params.allowed_tokens) {
      restricted_[static_cast<std::size_t>(token)] = at(token);
    }
    processed_.swap(restricted_);
  }
  return processed_;
}

}  // namespace sparkspan::engine::runtime
