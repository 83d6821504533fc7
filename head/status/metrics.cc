#include "head/status/metrics.h"

#include <sys/resource.h>

#include <cstdio>
#include <ctime>

#include "engine/base/process_memory.h"
#include "head/status/interface_metrics.h"
#include "head/status/prometheus_text.h"

namespace sparkspan::head::status {
namespace {

constexpr std::array<std::string_view, 4> kFinishReasons = {"stop", "length", "abort", "error"};

double Real(std::uint64_t value) {
  return static_cast<double>(value);
}
double Real(std::int64_t value) {
  return static_cast<double>(value);
}

void Single(PrometheusText* page,
            std::string_view name,
            std::string_view type,
            std::string_view help,
            double value) {
  page->Family(name, type, help);
  page->Sample(value);
}

void WriteProcess(PrometheusText* page) {
  static const double start_time = static_cast<double>(std::time(nullptr));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  Single(page,
         "process_resident_memory_bytes",
         "gauge",
         "Resident memory size in bytes.",
         static_cast<double>(engine::ResidentBytes()));
  Single(
      page, "process_start_time_seconds", "gauge", "Start time since the Unix epoch.", start_time);
  Single(page,
         "process_cpu_seconds_total",
         "counter",
         "User and system CPU time spent.",
         seconds(usage.ru_utime) + seconds(usage.ru_stime));
}

void WriteEngineGauges(PrometheusText* page, const api::EngineStatus& engine) {
  const double kv_usage =
      engine.kv_blocks_total > 0 ? Real(engine.kv_blocks_used) / Real(engine.kv_blocks_total) : 0.0;
  Single(
      page, "vllm:num_requests_running", "gauge", "Requests in execution.", Real(engine.running));
  Single(page, "vllm:num_requests_waiting", "gauge", "Requests queued.", Real(engine.waiting));
  Single(page, "vllm:kv_cache_usage_perc", "gauge", "KV-cache usage, 1 is full.", kv_usage);
  Single(page,
         "vllm:gpu_cache_usage_perc",
         "gauge",
         "Old name of vllm:kv_cache_usage_perc.",
         kv_usage);
  page->Family("vllm:cache_config_info", "gauge", "Sizes of the KV cache.");
  page->Sample(1.0,
               {{"block_size", std::to_string(engine.kv_block_tokens)},
                {"num_gpu_blocks", std::to_string(engine.kv_blocks_total)}});
  page->Family("sparkspan_engine_state", "gauge", "1 for the state that the engine is in.");
  using State = api::EngineState;
  for (const State state :
       {State::kStarting, State::kReady, State::kDegraded, State::kDraining, State::kFailed}) {
    page->Sample(state == engine.state ? 1.0 : 0.0,
                 {{"state", std::string(api::EngineStateName(state))}});
  }
}

void WriteEngineCounters(PrometheusText* page, const api::EngineStatus& engine) {
  Single(page,
         "vllm:prefix_cache_queries_total",
         "counter",
         "Prompt tokens looked up in the prefix cache.",
         Real(engine.prefix_queries_total));
  Single(page,
         "vllm:prefix_cache_hits_total",
         "counter",
         "Prompt tokens found in the prefix cache.",
         Real(engine.prefix_hits_total));
  Single(page,
         "vllm:gpu_prefix_cache_queries_total",
         "counter",
         "Old name of vllm:prefix_cache_queries_total.",
         Real(engine.prefix_queries_total));
  Single(page,
         "vllm:gpu_prefix_cache_hits_total",
         "counter",
         "Old name of vllm:prefix_cache_hits_total.",
         Real(engine.prefix_hits_total));
  Single(page,
         "vllm:num_preemptions_total",
         "counter",
         "Preemptions by the engine.",
         Real(engine.preemptions_total));
  Single(page,
         "vllm:prompt_tokens_total",
         "counter",
         "Prefill tokens processed.",
         Real(engine.prompt_tokens_total));
  Single(page,
         "vllm:generation_tokens_total",
         "counter",
         "Tokens generated.",
         Real(engine.generation_tokens_total));
}

void WriteDrafting(PrometheusText* page, const api::EngineStatus& engine) {
  Single(page,
         "vllm:spec_decode_num_drafts_total",
         "counter",
         "Number of spec decoding drafts.",
         Real(engine.drafts_total));
  Single(page,
         "vllm:spec_decode_num_draft_tokens_total",
         "counter",
         "Number of draft tokens.",
         Real(engine.draft_tokens_total));
  Single(page,
         "vllm:spec_decode_num_accepted_tokens_total",
         "counter",
         "Number of accepted tokens.",
         Real(engine.accepted_tokens_total));
  page->Family("vllm:spec_decode_num_accepted_tokens_per_pos_total",
               "counter",
               "Accepted tokens per draft position.");
  for (std::size_t i = 0; i < engine.drafts_by_position.size(); ++i) {
    page->Sample(Real(engine.drafts_by_position[i].accepted), {{"position", std::to_string(i)}});
  }
  page->Family("sparkspan_draft_verified_per_pos_total",
               "counter",
               "Drafts verified, by their position in the draft.");
  for (std::size_t i = 0; i < engine.drafts_by_position.size(); ++i) {
    page->Sample(Real(engine.drafts_by_position[i].verified), {{"position", std::to_string(i)}});
  }
  page->Family("sparkspan_draft_predicted_per_pos_total",
               "counter",
               "Sum of the predicted chances that verified drafts survive, by position.");
  for (std::size_t i = 0; i < engine.drafts_by_position.size(); ++i) {
    page->Sample(engine.drafts_by_position[i].predicted, {{"position", std::to_string(i)}});
  }
  Single(page,
         "sparkspan_draft_alarm",
         "gauge",
         "1 while so few first drafts are accepted that the drafter may be broken.",
         engine.draft_alarm.empty() ? 0.0 : 1.0);
}

void WriteSteps(PrometheusText* page, const api::EngineStatus& engine) {
  Single(page, "sparkspan_steps_total", "counter", "Engine steps.", Real(engine.steps_total));

  std::vector<double> bounds(api::StepTokens::kBounds.begin(), api::StepTokens::kBounds.end());
  Histogram step_tokens(bounds);
  double sum = 0;
  for (std::size_t i = 0; i < engine.step_tokens.counts.size(); ++i) {
    // Any value inside the bucket gives its count; the sum is known apart.
    const double inside = i < bounds.size() ? bounds[i] : bounds.back() + 1;
    step_tokens.Observe(inside, engine.step_tokens.counts[i]);
    sum += inside * Real(engine.step_tokens.counts[i]);
  }
  step_tokens.AddToSum(Real(engine.step_tokens.sum) - sum);
  page->Family("vllm:iteration_tokens_total", "histogram", "Tokens per engine step.");
  page->Sample(step_tokens);
}

}  // namespace

Metrics::Metrics(std::int64_t context_length)
    : time_to_first_token_(TimeToFirstTokenBounds()),
      inter_token_(InterTokenBounds()),
      time_per_output_token_(InterTokenBounds()),
      end_to_end_(LatencyBounds()),
      queue_(LatencyBounds()),
      inference_(LatencyBounds()),
      prefill_(LatencyBounds()),
      decode_(LatencyBounds()),
      prompt_tokens_(OneTwoFiveBounds(context_length)),
      generation_tokens_(OneTwoFiveBounds(context_length)),
      longest_answer_(OneTwoFiveBounds(context_length)),
      max_tokens_(OneTwoFiveBounds(context_length)),
      computed_prompt_tokens_(OneTwoFiveBounds(context_length)),
      samples_({1, 2, 5, 10, 20}),
      http_seconds_(LatencyBounds()) {
  for (const std::string_view reason : kFinishReasons) {
    finished_[std::string(reason)] = 0;
  }
}

void Metrics::ObserveAnswersAsked(std::int64_t n) {
  const std::lock_guard lock(mutex_);
  samples_.Observe(Real(n));
}

void Metrics::ObserveRequest(const RequestSample& sample) {
  const std::lock_guard lock(mutex_);
  ++finished_[sample.finished_reason];
  end_to_end_.Observe(sample.end_to_end);
  prompt_tokens_.Observe(Real(sample.prompt_tokens));
  generation_tokens_.Observe(Real(sample.generation_tokens));
  max_tokens_.Observe(Real(sample.max_tokens));
  computed_prompt_tokens_.Observe(Real(sample.prompt_tokens - sample.cached_tokens));
  if (sample.queue.has_value()) {
    queue_.Observe(*sample.queue);
  }
  if (sample.time_to_first_token.has_value()) {
    time_to_first_token_.Observe(*sample.time_to_first_token);
  }
  if (sample.prefill.has_value() && sample.decode.has_value()) {
    prefill_.Observe(*sample.prefill);
    decode_.Observe(*sample.decode);
    inference_.Observe(*sample.prefill + *sample.decode);
    if (sample.generation_tokens > 1) {
      time_per_output_token_.Observe(*sample.decode / Real(sample.generation_tokens - 1));
    }
  }
}

void Metrics::ObserveTokenGaps(double seconds, std::int64_t tokens) {
  if (tokens > 0) {
    const std::lock_guard lock(mutex_);
    inter_token_.Observe(seconds / Real(tokens), static_cast<std::uint64_t>(tokens));
  }
}

void Metrics::ObserveLongestAnswer(std::int64_t tokens) {
  const std::lock_guard lock(mutex_);
  longest_answer_.Observe(Real(tokens));
}

void Metrics::CountDroppedMarkup(std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  ++dropped_markups_;
  dropped_markup_bytes_ += static_cast<std::uint64_t>(bytes);
}

void Metrics::CountRejection(std::string_view reason) {
  const std::lock_guard lock(mutex_);
  ++rejections_[std::string(reason)];
}

void Metrics::CountDisconnect() {
  const std::lock_guard lock(mutex_);
  ++disconnects_;
}

void Metrics::CountHttp(std::string_view method,
                        std::string_view handler,
                        int status,
                        double seconds) {
  const std::lock_guard lock(mutex_);
  ++http_[{std::string(method), std::string(handler), std::to_string(status / 100) + "xx"}];
  http_seconds_.Observe(seconds);
}

std::string Metrics::Render(const std::string& model_name, const api::EngineStatus& engine) const {
  PrometheusText page({{"model_name", model_name}, {"engine", "0"}});
  WriteEngineGauges(&page, engine);
  WriteEngineCounters(&page, engine);
  WriteDrafting(&page, engine);
  WriteSteps(&page, engine);
  WriteInterfaces(&page, engine);
  {
    const std::lock_guard lock(mutex_);
    page.Family("vllm:request_success_total", "counter", "Requests finished, by reason.");
    for (const auto& [reason, count] : finished_) {
      page.Sample(Real(count), {{"finished_reason", reason}});
    }
    page.Family("vllm:admission_rejections_total", "counter", "Requests refused, by reason.");
    for (const auto& [reason, count] : rejections_) {
      page.Sample(Real(count), {{"reason", reason}});
    }
    const auto histogram = [&](std::string_view name, std::string_view help, const Histogram& h) {
      page.Family(name, "histogram", help);
      page.Sample(h);
    };
    histogram("vllm:time_to_first_token_seconds", "Arrival to first token.", time_to_first_token_);
    histogram("vllm:inter_token_latency_seconds", "Gaps between tokens.", inter_token_);
    histogram("vllm:time_per_output_token_seconds",
              "Old name of inter_token_latency_seconds.",
              inter_token_);
    histogram("vllm:request_time_per_output_token_seconds",
              "Mean gap of a request.",
              time_per_output_token_);
    histogram("vllm:e2e_request_latency_seconds", "Arrival to end.", end_to_end_);
    histogram("vllm:request_queue_time_seconds", "Arrival to first plan.", queue_);
    histogram("vllm:request_inference_time_seconds", "First plan to end.", inference_);
    histogram("vllm:request_prefill_time_seconds", "First plan to first token.", prefill_);
    histogram("vllm:request_decode_time_seconds", "First token to last.", decode_);
    histogram("vllm:request_prompt_tokens", "Prompt tokens.", prompt_tokens_);
    histogram("vllm:request_generation_tokens", "Generated tokens.", generation_tokens_);
    histogram("vllm:request_max_num_generation_tokens",
              "Generated tokens of a request's longest answer.",
              longest_answer_);
    histogram("vllm:request_params_max_tokens", "max_tokens, cut to what fits.", max_tokens_);
    histogram("vllm:request_prefill_kv_computed_tokens",
              "Prompt tokens computed, not cached.",
              computed_prompt_tokens_);
    histogram("vllm:request_params_n", "n asked for.", samples_);
    Single(&page,
           "sparkspan_client_disconnects_total",
           "counter",
           "Clients that left before their answer ended.",
           Real(disconnects_));
    Single(&page,
           "sparkspan_tool_parse_errors_total",
           "counter",
           "Requests of whose answers unreadable tool markup was left out.",
           Real(dropped_markups_));
    Single(&page,
           "sparkspan_tool_markup_dropped_bytes_total",
           "counter",
           "Bytes of that markup.",
           Real(dropped_markup_bytes_));
    page.Family("http_requests_total", "counter", "HTTP requests.");
    for (const auto& [key, count] : http_) {
      const auto& [method, handler, status] = key;
      page.Sample(Real(count), {{"method", method}, {"handler", handler}, {"status", status}});
    }
    histogram("http_request_duration_seconds", "Time to the answer's beginning.", http_seconds_);
  }
  WriteProcess(&page);
  return page.text();
}

}  // namespace sparkspan::head::status
