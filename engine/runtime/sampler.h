#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/runtime/plan.h"

namespace sparkspan::engine::runtime {

// Turns a row of logits into a token, in vLLM's order (spec: model.md 11, api.md 3.1, 3.4):
//   1. log-probabilities are taken of the raw logits;
//   2. min_tokens: suppressed tokens cannot be chosen while too few were generated;
//   3. temperature below 1e-5: the largest logit. Else logits / temperature;
//   4. min_p: tokens less likely than min_p times the likeliest go;
//   5. top_k: the k likeliest of the rest stay, lowest ids on a tie (exactly k, unlike vLLM);
//   6. top_p: of the rest, renormalised, the likeliest stay whose mass before them is below top_p;
//   7. of those that stay, the one with the largest logit / temperature + Gumbel noise, which draws
//      from their softmax. The noise is a function of (seed, position, token id), the rule of
//      kernels/sampling/sampling.h: the device picks the same token.
// A pure function of its arguments, bit for bit on one architecture; the object holds scratch only.
// One thread at a time.
class Sampler {
 public:
  // `logits` [vocabulary]; minus infinity forbids a token. `position` is the absolute position that
  // the chosen token will stand at, `generated` how many tokens the sequence has generated before
  // it. DataLoss: a logit is NaN or plus infinity. InvalidArgument: no token may be chosen.
  absl::StatusOr<CommittedToken> Sample(std::span<const float> logits,
                                        const SamplingParams& params,
                                        std::int64_t position,
                                        std::int64_t generated);

 private:
  // Steps 4 to 6: leaves in candidates_ the tokens that stay, in any order.
  void KeepMinP(const SamplingParams& params, float largest);
  void KeepTopK(std::int32_t top_k);
  void KeepTopP(const SamplingParams& params, float largest);
  Token Draw(const SamplingParams& params, std::int64_t position, Token likeliest) const;
  void AddLogprobs(std::span<const float> logits, std::int32_t top, CommittedToken* chosen);

  // Of the row in progress; the vectors are kept for their memory.
  std::span<const float> scores_;  // the logits, or suppressed_
  std::vector<float> suppressed_;  // the logits with suppressed tokens at minus infinity
  std::vector<Token> candidates_;
  std::vector<Token> likeliest_;  // for log-probabilities
};

}  // namespace sparkspan::engine::runtime
