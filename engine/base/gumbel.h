#pragma once

#include <cstdint>
#include <span>

#include "engine/base/ids.h"
#include "engine/base/random.h"

// Sampling a softmax as an argmax: the token with the largest logit / temperature + g, where g is
// Gumbel noise, has the softmax's distribution (the Gumbel maximum; Maddison et al., "A* sampling",
// NIPS 2014). The noise is a function of (seed, position, purpose, token id), the rule of
// kernels/sampling/sampling.h: shards of a vocabulary agree on the best of their bests.
namespace sparkspan::engine {

struct NoiseKey {
  std::uint64_t seed = 0;
  std::int64_t position = 0;  // absolute, of the token to be drawn
  RandomPurpose purpose = RandomPurpose::kSample;
};

// -log(-log(u)) for the uniform of this key and token.
float GumbelNoise(const NoiseKey& key, Token token);

struct NoisyMaximum {
  Token token = -1;    // -1: every logit is minus infinity
  float score = 0.0f;  // logit / temperature + noise

  // The better of two: the larger score, the lower id on a tie.
  bool IsBelow(const NoisyMaximum& other) const;
};

// Over `logits` of the tokens from `first_token` on; minus infinity forbids a token, NaN and plus
// infinity are the caller's to exclude. `temperature` 0: no noise, the largest logit itself. What
// comes out is, bit for bit, the best of all tokens by IsBelow(), though most take no logarithm.
NoisyMaximum ArgmaxWithNoise(std::span<const float> logits,
                             float temperature,
                             const NoiseKey& key,
                             Token first_token);

}  // namespace sparkspan::engine
