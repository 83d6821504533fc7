#include "engine/base/gumbel.h"

#include <cmath>
#include <limits>

namespace sparkspan::engine {

float GumbelNoise(const NoiseKey& key, Token token) {
  const float uniform = UniformFloat(key.seed,
                                     static_cast<std::uint64_t>(key.position),
                                     key.purpose,
                                     static_cast<std::uint32_t>(token));
  return -std::log(-std::log(uniform));
}

bool NoisyMaximum::IsBelow(const NoisyMaximum& other) const {
  if (token < 0 || other.token < 0) {
    return other.token >= 0;
  }
  return score < other.score || (score == other.score && other.token < token);
}

NoisyMaximum ArgmaxWithNoise(std::span<const float> logits,
                             float temperature,
                             const NoiseKey& key,
                             Token first_token) {
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  NoisyMaximum best;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == kForbidden) {
      continue;
    }
    const Token token = first_token + static_cast<Token>(i);
    const float score =
        temperature == 0.0f ? logits[i] : logits[i] / temperature + GumbelNoise(key, token);
    const NoisyMaximum candidate{token, score};
    if (best.IsBelow(candidate)) {
      best = candidate;
    }
  }
  return best;
}

}  // namespace sparkspan::engine
