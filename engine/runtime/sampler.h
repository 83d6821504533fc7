#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/runtime/plan.h"

namespace sparkspan::engine::runtime {

// Turns a row of scores, the logits as a LogitProcessor leaves them, into a token, in vLLM's order
// (docs/api.md):
//   1. temperature below 1e-5: the largest score. Else scores / temperature;
//   2. min_p: tokens less likely than min_p times the likeliest go;
//   3. top_k: the k likeliest of the rest stay, lowest ids on a tie (exactly k, unlike vLLM);
//   4. top_p: of the rest, renormalised, the likeliest stay whose mass before them is below top_p;
//   5. of those that stay, the one with the largest score / temperature + Gumbel noise, which draws
//      from their softmax. The noise is a function of (seed, position, token id), the rule of
//      kernels/sampling/sampling.h: the device picks the same token.
// A pure function of its arguments, bit for bit on one architecture; the object holds scratch only.
// One thread at a time.
class Sampler {
 public:
  // `scores` [vocabulary]; minus infinity forbids a token. `logits` [vocabulary] are the model's
  // own, of which log-probabilities are taken. `position` is the absolute position that the chosen
  // token will stand at. DataLoss: a score is NaN or plus infinity. InvalidArgument: no token may
  // be chosen.
  absl::StatusOr<CommittedToken> Sample(std::span<const float> scores,
                                        std::span<const float> logits,
                                        const SamplingParams& params,
                                        std::int64_t position);

  // The distribution that Sample draws the token from, whatever the seed and position: into
  // `probabilities` [vocabulary], 0 for what cannot be chosen, of sum 1; a single 1 where Sample is
  // greedy. Errors as Sample's.
  absl::Status Distribution(std::span<const float> scores,
                            const SamplingParams& params,
                            std::vector<double>* probabilities);

  // The log-probability of the token that was chosen of a row and of the likeliest ones, as
  // params.top_logprobs asks. Leaves `chosen` alone where it asks for none. DataLoss: a logit is
  // NaN or plus infinity.
  absl::Status AddLogprobs(std::span<const float> logits,
                           const SamplingParams& params,
                           CommittedToken* chosen);

 private:
  // Steps 1 to 4: leaves in likeliest_ the token of the largest score, and in scores_ the scores of
  // those that stay, minus infinity for the others. Greedy rows are not filtered.
  absl::Status Filter(std::span<const float> scores, const SamplingParams& params);
  // Each thins out candidates_, leaving them in any order.
  void KeepMinP(const SamplingParams& params);
  void KeepTopK(std::int32_t top_k);
  void KeepTopP(const SamplingParams& params);
  // exp of scores / temperature over that of likeliest_.
  double WeightOf(Token token, float temperature) const;

  // Of the row in progress; the vectors are kept for their memory.
  std::span<const float> scores_;  // the argument, or kept_
  Token likeliest_ = -1;
  std::vector<float> kept_;
  std::vector<Token> candidates_;
  std::vector<Token> ranked_;  // for log-probabilities
};

}  // namespace sparkspan::engine::runtime
