#include "engine/runtime/plan_check.h"

#include <limits>
#include <string_view>
#include <unordered_set>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::engine::runtime {
namespace {

constexpr std::int32_t kInt32Max = std::numeric_limits<std::int32_t>::max();
constexpr float kFloatMax = std::numeric_limits<float>::max();

absl::Status InRange(std::string_view name,
                     std::int64_t value,
                     std::int64_t least,
                     std::int64_t most) {
  if (value < least || value > most) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s is %d: must be %d to %d", name, value, least, most));
  }
  return absl::OkStatus();
}

// NaN is in no range.
absl::Status InRange(std::string_view name, float value, float least, float most) {
  if (!(value >= least && value <= most)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s is %g: must be %g to %g", name, value, least, most));
  }
  return absl::OkStatus();
}

absl::Status AtMost(std::string_view name, std::size_t entries, std::int64_t most) {
  if (entries > static_cast<std::size_t>(most)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s has %d entries: at most %d are allowed", name, entries, most));
  }
  return absl::OkStatus();
}

// Says which entry of which list the status speaks of.
absl::Status In(std::string_view list, std::size_t index, const absl::Status& status) {
  if (status.ok()) {
    return status;
  }
  return absl::Status(status.code(), absl::StrFormat("%s[%d].%s", list, index, status.message()));
}

absl::Status InSampling(std::size_t index, const absl::Status& status) {
  if (status.ok()) {
    return status;
  }
  return absl::Status(status.code(),
                      absl::StrFormat("open[%d].sampling.%s", index, status.message()));
}

absl::Status CheckTokens(std::string_view name, const std::vector<Token>& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s[%d] is %d: a token must not be negative", name, i, tokens[i]));
    }
  }
  return absl::OkStatus();
}

// Sequences that stand once each in one list.
class Distinct {
 public:
  absl::Status Add(SequenceId sequence) {
    if (!seen_.insert(sequence).second) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "sequence is %d: it stands in this list or in what it excludes", sequence.value()));
    }
    return absl::OkStatus();
  }

 private:
  std::unordered_set<SequenceId> seen_;
};

absl::Status CheckSpan(const RowSpan& span, std::int64_t* rows) {
  const auto* tokens = std::get_if<std::vector<Token>>(&span.tokens);
  std::int64_t count = 1;
  if (tokens != nullptr) {
    if (tokens->empty()) {
      return absl::InvalidArgumentError("tokens is empty: a span has at least one row");
    }
    count = static_cast<std::int64_t>(tokens->size());
    RETURN_IF_ERROR(InRange("tokens.size", count, 1, PlanLimits::kRowsMax));
    RETURN_IF_ERROR(CheckTokens("tokens", *tokens));
  }
  if (tokens != nullptr || span.first_position != kSequenceEnd) {
    RETURN_IF_ERROR(
        InRange("first_position", span.first_position, 0, PlanLimits::kPositionMax - count));
  }
  const bool may_draft = tokens == nullptr && span.sample;
  RETURN_IF_ERROR(InRange("draft_tokens_max",
                          std::int64_t{span.draft_tokens_max},
                          0,
                          may_draft ? PlanLimits::kDraftTokensMax : 0));
  if (span.propose && !span.sample) {
    return absl::InvalidArgumentError(
        "propose is set without sample: drafts follow a chosen token");
  }
  *rows += count + span.draft_tokens_max;
  return absl::OkStatus();
}

absl::Status CheckGrant(const BlockGrant& grant, std::int64_t* blocks) {
  if (grant.blocks.empty()) {
    return absl::InvalidArgumentError("blocks is empty: leave the grant out");
  }
  for (std::size_t i = 0; i < grant.blocks.size(); ++i) {
    if (grant.blocks[i] < 0) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "blocks[%d] is %d: a block's number must not be negative", i, grant.blocks[i]));
    }
  }
  *blocks += static_cast<std::int64_t>(grant.blocks.size());
  return InRange("blocks granted up to here", *blocks, 0, PlanLimits::kBlocksMax);
}

absl::Status CheckSequenceTokens(const SequenceTokens& tokens) {
  const auto count = static_cast<std::int64_t>(tokens.tokens.size());
  const bool has_fault = tokens.fault != SamplingFault::kNone;
  RETURN_IF_ERROR(InRange(
      "tokens.size", count, has_fault ? 0 : 1, has_fault ? 0 : PlanLimits::kDraftTokensMax + 1));
  RETURN_IF_ERROR(InRange("position", tokens.position, 0, PlanLimits::kPositionMax - count));
  RETURN_IF_ERROR(InRange("drafted", std::int64_t{tokens.drafted}, 0, PlanLimits::kDraftTokensMax));
  RETURN_IF_ERROR(
      InRange("accepted", std::int64_t{tokens.accepted}, 0, has_fault ? 0 : tokens.drafted));
  RETURN_IF_ERROR(InRange(
      "proposed", std::int64_t{tokens.proposed}, 0, has_fault ? 0 : PlanLimits::kDraftTokensMax));
  if (!tokens.confidence.empty() &&
      tokens.confidence.size() != static_cast<std::size_t>(tokens.proposed)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("confidence has %d entries for %d proposed drafts: one each or none",
                        tokens.confidence.size(),
                        tokens.proposed));
  }
  for (const float confidence : tokens.confidence) {
    RETURN_IF_ERROR(InRange("confidence", confidence, -kFloatMax, kFloatMax));
  }
  for (std::size_t i = 0; i < tokens.tokens.size(); ++i) {
    const CommittedToken& token = tokens.tokens[i];
    RETURN_IF_ERROR(In("tokens", i, InRange("token", std::int64_t{token.token}, 0, kInt32Max)));
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    if (token.logprob.has_value()) {
      RETURN_IF_ERROR(In("tokens", i, InRange("logprob", *token.logprob, -kInfinity, 0.0f)));
    }
    RETURN_IF_ERROR(In("tokens", i, AtMost("top", token.top.size(), PlanLimits::kTopLogprobsMax)));
    for (const TokenLogprob& top : token.top) {
      RETURN_IF_ERROR(In("tokens", i, InRange("top.token", std::int64_t{top.token}, 0, kInt32Max)));
      RETURN_IF_ERROR(In("tokens", i, InRange("top.logprob", top.logprob, -kInfinity, 0.0f)));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLogitBias(const std::vector<LogitBias>& logit_bias) {
  RETURN_IF_ERROR(AtMost("logit_bias", logit_bias.size(), PlanLimits::kLogitBiasMax));
  std::unordered_set<Token> seen;
  for (std::size_t i = 0; i < logit_bias.size(); ++i) {
    const auto [token, bias] = logit_bias[i];
    RETURN_IF_ERROR(In("logit_bias", i, InRange("token", std::int64_t{token}, 0, kInt32Max)));
    constexpr float kForbidden = -std::numeric_limits<float>::infinity();
    RETURN_IF_ERROR(In("logit_bias", i, InRange("bias", bias, kForbidden, kFloatMax)));
    if (!seen.insert(token).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("logit_bias[%d].token is %d: it has a bias already", i, token));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckForced(const ForcedTokens& forced) {
  RETURN_IF_ERROR(AtMost("forced.tokens", forced.tokens.size(), PlanLimits::kForcedTokensMax));
  RETURN_IF_ERROR(CheckTokens("forced.tokens", forced.tokens));
  if (forced.after.has_value()) {
    RETURN_IF_ERROR(InRange("forced.after", std::int64_t{*forced.after}, 0, kInt32Max));
  }
  return absl::OkStatus();
}

absl::Status CheckStep(Step step) {
  if (step.value() == 0) {
    return absl::InvalidArgumentError("step is 0: steps of an epoch count from 1");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSampling(const SamplingParams& sampling) {
  RETURN_IF_ERROR(InRange("temperature", sampling.temperature, 0.0f, kFloatMax));
  RETURN_IF_ERROR(InRange("top_p", sampling.top_p, 0.0f, 1.0f));
  if (sampling.top_p == 0.0f) {
    return absl::InvalidArgumentError("top_p is 0: must be above 0, 1 switches it off");
  }
  RETURN_IF_ERROR(InRange("top_k", std::int64_t{sampling.top_k}, 0, kInt32Max));
  RETURN_IF_ERROR(InRange("min_p", sampling.min_p, 0.0f, 1.0f));
  RETURN_IF_ERROR(InRange(
      "top_logprobs", std::int64_t{sampling.top_logprobs}, -1, PlanLimits::kTopLogprobsMax));
  RETURN_IF_ERROR(InRange("min_tokens", std::int64_t{sampling.min_tokens}, 0, kInt32Max));
  RETURN_IF_ERROR(AtMost("suppressed_until_min_tokens",
                         sampling.suppressed_until_min_tokens.size(),
                         PlanLimits::kSuppressedTokensMax));
  RETURN_IF_ERROR(CheckTokens("suppressed_until_min_tokens", sampling.suppressed_until_min_tokens));
  RETURN_IF_ERROR(InRange("repetition_penalty", sampling.repetition_penalty, 0.0f, kFloatMax));
  if (sampling.repetition_penalty == 0.0f) {
    return absl::InvalidArgumentError(
        "repetition_penalty is 0: must be above 0, 1 switches it off");
  }
  RETURN_IF_ERROR(InRange("frequency_penalty", sampling.frequency_penalty, -kFloatMax, kFloatMax));
  RETURN_IF_ERROR(InRange("presence_penalty", sampling.presence_penalty, -kFloatMax, kFloatMax));
  RETURN_IF_ERROR(
      AtMost("allowed_tokens", sampling.allowed_tokens.size(), PlanLimits::kAllowedTokensMax));
  RETURN_IF_ERROR(CheckTokens("allowed_tokens", sampling.allowed_tokens));
  RETURN_IF_ERROR(CheckForced(sampling.forced));
  return CheckLogitBias(sampling.logit_bias);
}

absl::Status CheckPlan(const StepPlan& plan) {
  RETURN_IF_ERROR(CheckStep(plan.step));
  RETURN_IF_ERROR(AtMost("close", plan.close.size(), PlanLimits::kSequencesMax));
  RETURN_IF_ERROR(AtMost("open", plan.open.size(), PlanLimits::kSequencesMax));
  RETURN_IF_ERROR(AtMost("grants", plan.grants.size(), PlanLimits::kSequencesMax));
  RETURN_IF_ERROR(AtMost("spans", plan.spans.size(), PlanLimits::kSequencesMax));
  Distinct lives;  // A sequence is opened and closed once; what is closed is not opened again.
  for (std::size_t i = 0; i < plan.close.size(); ++i) {
    RETURN_IF_ERROR(In("close", i, lives.Add(plan.close[i])));
  }
  for (std::size_t i = 0; i < plan.open.size(); ++i) {
    const SequenceOpen& open = plan.open[i];
    RETURN_IF_ERROR(In("open", i, lives.Add(open.sequence)));
    RETURN_IF_ERROR(
        In("open", i, InRange("prompt_tokens", open.prompt_tokens, 1, PlanLimits::kPositionMax)));
    RETURN_IF_ERROR(InSampling(i, CheckSampling(open.sampling)));
  }
  Distinct granted;
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < plan.grants.size(); ++i) {
    RETURN_IF_ERROR(In("grants", i, granted.Add(plan.grants[i].sequence)));
    RETURN_IF_ERROR(In("grants", i, CheckGrant(plan.grants[i], &blocks)));
  }
  Distinct running;
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < plan.spans.size(); ++i) {
    RETURN_IF_ERROR(In("spans", i, running.Add(plan.spans[i].sequence)));
    RETURN_IF_ERROR(In("spans", i, CheckSpan(plan.spans[i], &rows)));
  }
  return InRange("rows of all spans", rows, 0, PlanLimits::kRowsMax);
}

absl::Status CheckResult(const StepResult& result) {
  RETURN_IF_ERROR(CheckStep(result.step));
  RETURN_IF_ERROR(InRange("rank", std::int64_t{result.rank.value()}, 0, PlanLimits::kRanksMax - 1));
  RETURN_IF_ERROR(AtMost("sequences", result.sequences.size(), PlanLimits::kSequencesMax));
  Distinct sequences;
  for (std::size_t i = 0; i < result.sequences.size(); ++i) {
    RETURN_IF_ERROR(In("sequences", i, sequences.Add(result.sequences[i].sequence)));
    RETURN_IF_ERROR(In("sequences", i, CheckSequenceTokens(result.sequences[i])));
  }
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  RETURN_IF_ERROR(InRange("times.forward_ns", result.times.forward_ns, 0, kMost));
  RETURN_IF_ERROR(InRange("times.exchange_ns", result.times.exchange_ns, 0, kMost));
  RETURN_IF_ERROR(InRange("times.sample_ns", result.times.sample_ns, 0, kMost));
  RETURN_IF_ERROR(InRange("times.draft_ns", result.times.draft_ns, 0, kMost));
  return InRange("times.total_ns", result.times.total_ns, 0, kMost);
}

}  // namespace sparkspan::engine::runtime
