#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/runtime/plan.h"
#include "engine/runtime/token_history.h"

namespace sparkspan::engine::runtime {

// Whether a processor looks at the history of a sequence with these parameters.
bool NeedsHistory(const SamplingParams& params);

// What changes a row of logits before a token is chosen from it, in vLLM's order (the docstring of
// vllm/v1/sample/sampler.py, steps 5 and 6):
//   1. min_tokens: suppressed tokens are forbidden while too few were generated;
//   2. logit_bias is added;
//   3. repetition_penalty: logits of tokens in the prompt or generated are divided by it where
//      positive, else multiplied;
//   4. frequency_penalty times the occurrences among the generated tokens is subtracted;
//   5. presence_penalty is subtracted of tokens generated at least once;
//   6. all but allowed_tokens are forbidden.
// Logits that were finite stay finite: a penalty that overflows ends at the largest float. A pure
// function of its arguments; the object holds scratch only. One thread at a time.
class LogitProcessor {
 public:
  // `logits` [vocabulary], a row of the model. `history` holds the tokens before the one to be
  // chosen, drafts that are taken as accepted included; it is not read unless NeedsHistory.
  // `generated` is how many of those before it were generated, drafts included. Tokens of `params`
  // and `history` must be in the vocabulary. Returns `logits` itself where nothing applies, else
  // memory of the processor that is good until the next call.
  std::span<const float> Process(std::span<const float> logits,
                                 const SamplingParams& params,
                                 const TokenHistory& history,
                                 std::int64_t generated);

 private:
  std::vector<float> processed_;   // [vocabulary]
  std::vector<float> restricted_;  // [vocabulary]
};

}  // namespace sparkspan::engine::runtime
