#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/runtime/forced_progress.h"
#include "engine/runtime/logit_processor.h"
#include "engine/runtime/plan.h"
#include "engine/runtime/sampler.h"
#include "engine/runtime/token_history.h"

namespace sparkspan::engine::runtime {

// One sequence's rows of a step: the last committed token and the drafts after it.
struct VerifiedRows {
  std::span<const float> logits;  // [drafts + 1, vocabulary], the model's own
  std::span<const Token> drafts;
  // [drafts or more, vocabulary] that the drafts were drawn of; where IsRejectionSampled, else
  // unused.
  std::span<const float> draft_logits;
  std::int64_t position = 0;   // absolute, of the token that the first row chooses
  std::int64_t generated = 0;  // tokens that the sequence had generated before it
};

struct Verdict {
  std::int32_t accepted = 0;
  std::vector<CommittedToken> tokens;  // the accepted drafts, then one the model chose itself
};

// Whether these parameters judge drafts by the rejection rule, which needs the drafts' logits: only
// then can acceptance depend on how a draft was drawn.
bool IsRejectionSampled(const SamplingParams& params);

// Decides how many drafts stand and which token follows them (arXiv 2211.17192, algorithm 1). Row
// i's logits are processed with the drafts before it as generated tokens. A forced token is
// committed whatever its row says, and a draft stands in its place if it is the same.
//
// Greedy, and by AcceptanceRule::kSharedNoise: a draft stands while it is what Sampler::Sample
// chooses from its row, so the tokens are those of decoding without drafts. By kRejection draft d
// stands if u < p(d) / q(d); after the first that does not, a token is drawn of max(p - q, 0); p is
// the distribution that Sample draws from, q the softmax of the draft logits over the temperature.
// Every random number is a function of seed, position and purpose alone. A pure function of its
// arguments, bit for bit on one architecture; the object holds scratch only. One thread at a time.
class Acceptance {
 public:
  // `history` holds the sequence's tokens up to the last committed one; the verdict's tokens are
  // appended. Null where NeedsHistory(params) is false. `forced` is the sequence's; null where
  // params.forced has no tokens. Errors: those of Sampler::Sample.
  absl::StatusOr<Verdict> Judge(const VerifiedRows& rows,
                                const SamplingParams& params,
                                TokenHistory* history,
                                ForcedProgress* forced = nullptr);

 private:
  // The token that row `index` commits, its log-probabilities included.
  absl::StatusOr<CommittedToken> Choose(const VerifiedRows& rows,
                                        std::size_t index,
                                        const SamplingParams& params,
                                        const TokenHistory& history);
  // What row `index` makes of its draft: the token to commit, the draft itself if it stands.
  absl::StatusOr<CommittedToken> ChooseByRejection(const VerifiedRows& rows,
                                                   std::size_t index,
                                                   std::span<const float> scores,
                                                   const SamplingParams& params);
  Token DrawResidual(const SamplingParams& params, std::int64_t position);

  LogitProcessor processor_;
  Sampler sampler_;
  std::vector<double> target_;   // [vocabulary] p
  std::vector<double> draft_;    // [vocabulary] q
  std::vector<float> residual_;  // [vocabulary] log of max(p - q, 0)
};

}  // namespace sparkspan::engine::runtime
