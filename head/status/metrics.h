#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "head/api/generation.h"
#include "head/status/histogram.h"

namespace sparkspan::head::status {

// How one answer went: of a request with n above 1 each by itself, as in vLLM. Times in seconds.
struct RequestSample {
  std::string finished_reason;  // "stop", "length", "abort" or "error"
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t generation_tokens = 0;
  std::int64_t max_tokens = 0;
  double end_to_end = 0;
  std::optional<double> queue;  // Arrival to first plan.
  std::optional<double> time_to_first_token;
  std::optional<double> prefill;  // First plan to first token.
  std::optional<double> decode;   // First token to last.
};

// What the API counts, under the names of vLLM's metrics, so that its dashboards work. Thread-safe;
// nothing here waits for the engine.
class Metrics {
 public:
  explicit Metrics(std::int64_t context_length);

  // Once a request, when it is admitted: how many answers it asked for.
  void ObserveAnswersAsked(std::int64_t n);
  void ObserveRequest(const RequestSample& sample);
  // `tokens` came `seconds` after the ones before them: so many gaps of an equal share.
  void ObserveTokenGaps(double seconds, std::int64_t tokens);
  // Once a request, when all its answers have ended: the tokens of the longest.
  void ObserveLongestAnswer(std::int64_t tokens);
  // Once a request of whose answers so many bytes of tool markup were left out.
  void CountDroppedMarkup(std::int64_t bytes);
  void CountRejection(std::string_view reason);
  void CountDisconnect();
  void CountHttp(std::string_view method, std::string_view handler, int status, double seconds);

  // The page of /metrics.
  std::string Render(const std::string& model_name, const api::EngineStatus& engine) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t, std::less<>> finished_;
  std::map<std::string, std::uint64_t, std::less<>> rejections_;
  std::map<std::tuple<std::string, std::string, std::string>, std::uint64_t> http_;
  std::uint64_t disconnects_ = 0;
  std::uint64_t dropped_markups_ = 0;
  std::uint64_t dropped_markup_bytes_ = 0;
  Histogram time_to_first_token_;
  Histogram inter_token_;
  Histogram time_per_output_token_;
  Histogram end_to_end_;
  Histogram queue_;
  Histogram inference_;
  Histogram prefill_;
  Histogram decode_;
  Histogram prompt_tokens_;
  Histogram generation_tokens_;
  Histogram longest_answer_;
  Histogram max_tokens_;
  Histogram computed_prompt_tokens_;
  Histogram samples_;
  Histogram http_seconds_;
};

}  // namespace sparkspan::head::status
