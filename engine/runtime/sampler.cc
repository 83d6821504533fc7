#include "engine/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_format.h"
#include "engine/base/gumbel.h"
#include "engine/base/status.h"

namespace sparkspan::engine::runtime {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

constexpr std::size_t kSortedFirst = 64;  // of top_p, which mostly needs few tokens
constexpr std::size_t kSortedGrowth = 8;

// The likelier first; of equals the lower id, everywhere.
class Likelier {
 public:
  explicit Likelier(std::span<const float> scores) : scores_(scores) {}

  bool operator()(Token a, Token b) const {
    const float left = scores_[static_cast<std::size_t>(a)];
    const float right = scores_[static_cast<std::size_t>(b)];
    return left > right || (left == right && a < b);
  }

 private:
  std::span<const float> scores_;
};

// The largest score's token, lowest id on a tie; -1 when every token is forbidden.
absl::StatusOr<Token> Likeliest(std::span<const float> scores) {
  const auto bad =
      std::find_if_not(scores.begin(), scores.end(), [](float score) { return score < -kNever; });
  if (bad != scores.end()) {
    return absl::DataLossError(
        absl::StrFormat("the logit of token %d is %g: the model's arithmetic has gone wrong",
                        bad - scores.begin(),
                        *bad));
  }
  return ArgmaxWithNoise(scores, /*temperature=*/0, {}, 0).token;
}

}  // namespace

double Sampler::WeightOf(Token token, float temperature) const {
  const double below = static_cast<double>(scores_[static_cast<std::size_t>(token)]) -
                       scores_[static_cast<std::size_t>(likeliest_)];
  return std::exp(below / static_cast<double>(temperature));
}

void Sampler::KeepMinP(const SamplingParams& params) {
  // p >= min_p * p_max, without the normaliser.
  const double least = static_cast<double>(params.min_p);
  std::erase_if(candidates_,
                [&](Token token) { return WeightOf(token, params.temperature) < least; });
}

void Sampler::KeepTopK(std::int32_t top_k) {
  const auto kept = static_cast<std::size_t>(top_k);
  if (kept < candidates_.size()) {
    std::nth_element(candidates_.begin(),
                     candidates_.begin() + static_cast<std::ptrdiff_t>(kept),
                     candidates_.end(),
                     Likelier(scores_));
    candidates_.resize(kept);
  }
}

void Sampler::KeepTopP(const SamplingParams& params) {
  // nth_element leaves an order that depends on the library, so the sum needs its own.
  if (!std::is_sorted(candidates_.begin(), candidates_.end())) {
    std::sort(candidates_.begin(), candidates_.end());
  }
  double whole = 0;
  for (const Token token : candidates_) {
    whole += WeightOf(token, params.temperature);
  }
  const double wanted = static_cast<double>(params.top_p) * whole;
  double before = 0;
  std::size_t kept = 0;
  for (std::size_t sorted = 0; kept < candidates_.size() && before < wanted; ++kept) {
    if (kept == sorted) {
      sorted = std::min(candidates_.size(), std::max(kSortedFirst, sorted * kSortedGrowth));
      std::partial_sort(candidates_.begin() + static_cast<std::ptrdiff_t>(kept),
                        candidates_.begin() + static_cast<std::ptrdiff_t>(sorted),
                        candidates_.end(),
                        Likelier(scores_));
    }
    before += WeightOf(candidates_[kept], params.temperature);
  }
  candidates_.resize(std::max<std::size_t>(kept, 1));
}

absl::Status Sampler::AddLogprobs(std::span<const float> logits,
                                  const SamplingParams& params,
                                  CommittedToken* chosen) {
  if (params.top_logprobs < 0) {
    return absl::OkStatus();
  }
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - largest);
  }
  const double normaliser = static_cast<double>(largest) + std::log(sum);
  if (!std::isfinite(normaliser)) {
    return absl::DataLossError("a logit is not finite: the model's arithmetic has gone wrong");
  }
  const auto logprob = [&](Token token) {
    return static_cast<float>(static_cast<double>(logits[static_cast<std::size_t>(token)]) -
                              normaliser);
  };
  chosen->logprob = logprob(chosen->token);
  const std::size_t wanted = std::min(static_cast<std::size_t>(params.top_logprobs), logits.size());
  if (wanted == 0) {
    return absl::OkStatus();
  }
  ranked_.resize(logits.size());
  std::iota(ranked_.begin(), ranked_.end(), 0);
  std::partial_sort(ranked_.begin(),
                    ranked_.begin() + static_cast<std::ptrdiff_t>(wanted),
                    ranked_.end(),
                    Likelier(logits));
  for (std::size_t i = 0; i < wanted; ++i) {
    chosen->top.push_back({ranked_[i], logprob(ranked_[i])});
  }
  return absl::OkStatus();
}

absl::Status Sampler::Filter(std::span<const float> scores, const SamplingParams& params) {
  scores_ = scores;
  ASSIGN_OR_RETURN(likeliest_, Likeliest(scores));
  if (likeliest_ < 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the sampling parameters forbid all %d tokens", scores.size()));
  }
  const bool filters = params.min_p > 0 || params.top_k > 0 || params.top_p < 1;
  if (IsGreedy(params) || !filters) {
    return absl::OkStatus();
  }
  candidates_.clear();
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] != kNever) {
      candidates_.push_back(static_cast<Token>(i));
    }
  }
  if (params.min_p > 0) {
    KeepMinP(params);
  }
  if (params.top_k > 0) {
    KeepTopK(params.top_k);
  }
  if (params.top_p < 1) {
    KeepTopP(params);
  }
  kept_.assign(scores.size(), kNever);
  for (const Token token : candidates_) {
    kept_[static_cast<std::size_t>(token)] = scores[static_cast<std::size_t>(token)];
  }
  scores_ = kept_;
  return absl::OkStatus();
}

absl::StatusOr<CommittedToken> Sampler::Sample(std::span<const float> scores,
                                               std::span<const float> logits,
                                               const SamplingParams& params,
                                               std::int64_t position) {
  RETURN_IF_ERROR(Filter(scores, params));
  CommittedToken chosen;
  chosen.token = likeliest_;
  if (!IsGreedy(params)) {
    const NoiseKey key = {
        .seed = params.seed, .position = position, .purpose = RandomPurpose::kSample};
    chosen.token = ArgmaxWithNoise(scores_, params.temperature, key, 0).token;
  }
  RETURN_IF_ERROR(AddLogprobs(logits, params, &chosen));
  return chosen;
}

absl::Status Sampler::Distribution(std::span<const float> scores,
                                   const SamplingParams& params,
                                   std::vector<double>* probabilities) {
  RETURN_IF_ERROR(Filter(scores, params));
  probabilities->assign(scores.size(), 0.0);
  if (IsGreedy(params)) {
    (*probabilities)[static_cast<std::size_t>(likeliest_)] = 1.0;
    return absl::OkStatus();
  }
  double sum = 0;
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (scores_[i] != kNever) {
      (*probabilities)[i] = WeightOf(static_cast<Token>(i), params.temperature);
      sum += (*probabilities)[i];
    }
  }
  for (double& probability : *probabilities) {
    probability /= sum;
  }
  return absl::OkStatus();
}

}  // namespace sparkspan::engine::runtime
