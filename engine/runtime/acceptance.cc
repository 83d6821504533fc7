#include "engine/runtime/acceptance.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/gumbel.h"
#include "engine/base/log.h"
#include "engine/base/random.h"
#include "engine/base/status.h"

namespace sparkspan::engine::runtime {
namespace {

// Below this mass p and q are one distribution up to rounding, and so is the residual p.
constexpr double kResidualLeast = 1e-8;

void Softmax(std::span<const float> logits, float temperature, std::vector<double>* out) {
  const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  out->resize(logits.size());
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double below = static_cast<double>(logits[i]) - largest;
    sum += (*out)[i] = std::exp(below / static_cast<double>(temperature));
  }
  for (double& probability : *out) {
    probability /= sum;
  }
}

}  // namespace

bool IsRejectionSampled(const SamplingParams& params) {
  return !IsGreedy(params) && params.acceptance == AcceptanceRule::kRejection;
}

Token Acceptance::DrawResidual(const SamplingParams& params, std::int64_t position) {
  double mass = 0;
  for (std::size_t i = 0; i < target_.size(); ++i) {
    mass += std::max(0.0, target_[i] - draft_[i]);
  }
  residual_.resize(target_.size());
  for (std::size_t i = 0; i < target_.size(); ++i) {
    const double rest = mass < kResidualLeast ? target_[i] : std::max(0.0, target_[i] - draft_[i]);
    residual_[i] =
        rest > 0 ? static_cast<float>(std::log(rest)) : -std::numeric_limits<float>::infinity();
  }
  const NoiseKey key{params.seed, position, RandomPurpose::kResidual};
  return ArgmaxWithNoise(residual_, 1.0f, key, 0).token;
}

absl::StatusOr<CommittedToken> Acceptance::ChooseByRejection(const VerifiedRows& rows,
                                                             std::size_t index,
                                                             std::span<const float> scores,
                                                             const SamplingParams& params) {
  RETURN_IF_ERROR(sampler_.Distribution(scores, params, &target_));
  const std::size_t vocabulary = scores.size();
  Softmax(rows.draft_logits.subspan(index * vocabulary, vocabulary), params.temperature, &draft_);
  const std::int64_t position = rows.position + static_cast<std::int64_t>(index);
  const auto uniform = static_cast<double>(
      UniformFloat(params.seed, static_cast<std::uint64_t>(position), RandomPurpose::kAccept, 0));
  const auto drafted = static_cast<std::size_t>(rows.drafts[index]);
  CommittedToken chosen;
  chosen.token = uniform * draft_[drafted] < target_[drafted] ? rows.drafts[index]
                                                              : DrawResidual(params, position);
  return chosen;
}

absl::StatusOr<CommittedToken> Acceptance::Choose(const VerifiedRows& rows,
                                                  std::size_t index,
                                                  const SamplingParams& params,
                                                  const TokenHistory& history) {
  const std::size_t vocabulary = rows.logits.size() / (rows.drafts.size() + 1);
  const std::span<const float> logits = rows.logits.subspan(index * vocabulary, vocabulary);
  const auto offset = static_cast<std::int64_t>(index);
  const std::span<const float> scores =
      processor_.Process(logits, params, history, rows.generated + offset);
  if (!IsRejectionSampled(params) || index == rows.drafts.size()) {
    return sampler_.Sample(scores, logits, params, rows.position + offset);
  }
  ASSIGN_OR_RETURN(CommittedToken chosen, ChooseByRejection(rows, index, scores, params));
  RETURN_IF_ERROR(sampler_.AddLogprobs(logits, params, &chosen));
  return chosen;
}

absl::StatusOr<Verdict> Acceptance::Judge(const VerifiedRows& rows,
                                          const SamplingParams& params,
                                          TokenHistory* history,
                                          ForcedProgress* forced) {
  const std::size_t drafts = rows.drafts.size();
  const std::size_t vocabulary = rows.logits.size() / (drafts + 1);
  CHECK(!IsRejectionSampled(params) || rows.draft_logits.size() >= drafts * vocabulary);
  static const TokenHistory kNone;
  Verdict verdict;
  for (std::size_t i = 0; i <= drafts; ++i) {
    const std::int64_t generated = rows.generated + static_cast<std::int64_t>(i);
    const std::optional<Token> given =
        forced == nullptr ? std::nullopt : forced->At(params.forced, generated);
    CommittedToken chosen;
    if (given.has_value()) {
      chosen.token = *given;
      RETURN_IF_ERROR(
          sampler_.AddLogprobs(rows.logits.subspan(i * vocabulary, vocabulary), params, &chosen));
    } else {
      ASSIGN_OR_RETURN(chosen, Choose(rows, i, params, history == nullptr ? kNone : *history));
    }
    if (forced != nullptr) {
      forced->Commit(params.forced, generated, chosen.token);
    }
    if (history != nullptr) {
      history->Append(chosen.token, true);
    }
    const bool stands = i < drafts && chosen.token == rows.drafts[i];
    verdict.tokens.push_back(std::move(chosen));
    if (!stands) {
      break;
    }
    ++verdict.accepted;
  }
  return verdict;
}

}  // namespace sparkspan::engine::runtime
