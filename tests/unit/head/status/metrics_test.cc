#include "head/status/metrics.h"

#include <cmath>
#include <map>
#include <sstream>

#include "gtest/gtest.h"
#include "head/status/prometheus_text.h"

namespace sparkspan::head::status {
namespace {

// Samples by their name with labels, as a scraper reads them; checks the page's grammar.
std::map<std::string, double> Scrape(const std::string& page) {
  std::map<std::string, double> samples;
  std::map<std::string, std::string> types;
  std::string family;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# TYPE ")) {
      std::istringstream words(line.substr(7));
      std::string type;
      words >> family >> type;
      EXPECT_TRUE(types.emplace(family, type).second) << "two families named " << family;
      continue;
    }
    if (line.starts_with("# HELP ")) {
      continue;
    }
    EXPECT_TRUE(line.starts_with(family)) << line << " is outside of " << family;
    const std::size_t space = line.rfind(' ');
    const std::string name = line.substr(0, space);
    EXPECT_TRUE(samples.emplace(name, std::stod(line.substr(space + 1))).second) << name;
    if (types[family] == "counter") {
      EXPECT_TRUE(family.ends_with("_total")) << family;
    }
  }
  return samples;
}

std::string Named(const std::string& name, const std::string& labels = "") {
  return name + "{model_name=\"demo\",engine=\"0\"" + (labels.empty() ? "" : "," + labels) + "}";
}

TEST(MetricsTest, RendersWhatWasObserved) {
  Metrics metrics(/*context_length=*/4096);
  RequestSample sample;
  sample.finished_reason = "length";
  sample.prompt_tokens = 150;
  sample.cached_tokens = 128;
  sample.generation_tokens = 11;
  sample.max_tokens = 11;
  sample.end_to_end = 1.5;
  sample.queue = 0.25;
  sample.time_to_first_token = 0.05;
  sample.prefill = 0.5;
  sample.decode = 1.0;
  metrics.ObserveRequest(sample);
  metrics.ObserveAnswersAsked(4);
  metrics.ObserveTokenGaps(0.3, 3);
  metrics.CountRejection("queue_full");
  metrics.CountHttp("POST", "/v1/chat/completions", 200, 0.01);
  api::EngineStatus engine;
  engine.running = 3;
  engine.kv_blocks_total = 8;
  engine.kv_blocks_used = 2;
  engine.drafts_by_position = {{6, 5, 5.5}, {4, 2, 2.25}};
  engine.step_tokens.Observe(1);
  engine.step_tokens.Observe(9);
  engine.step_tokens.Observe(20000);
  std::map<std::string, double> samples = Scrape(metrics.Render("demo", engine));
  EXPECT_EQ(samples[Named("vllm:num_requests_running")], 3);
  EXPECT_EQ(samples[Named("vllm:kv_cache_usage_perc")], 0.25);
  EXPECT_EQ(samples[Named("vllm:request_success_total", "finished_reason=\"length\"")], 1);
  EXPECT_EQ(samples.count(Named("vllm:request_success_total", "finished_reason=\"abort\"")), 1u);
  EXPECT_EQ(samples[Named("vllm:admission_rejections_total", "reason=\"queue_full\"")], 1);
  EXPECT_EQ(samples[Named("vllm:time_to_first_token_seconds_bucket", "le=\"0.04\"")], 0);
  EXPECT_EQ(samples[Named("vllm:time_to_first_token_seconds_bucket", "le=\"0.06\"")], 1);
  EXPECT_EQ(samples[Named("vllm:inter_token_latency_seconds_count")], 3);
  EXPECT_DOUBLE_EQ(samples[Named("vllm:inter_token_latency_seconds_sum")], 0.3);
  EXPECT_EQ(samples[Named("vllm:request_prompt_tokens_bucket", "le=\"100.0\"")], 0);
  EXPECT_EQ(samples[Named("vllm:request_prompt_tokens_bucket", "le=\"200.0\"")], 1);
  EXPECT_EQ(samples[Named("vllm:request_prefill_kv_computed_tokens_sum")], 22);
  EXPECT_EQ(samples[Named("vllm:request_params_n_bucket", "le=\"2.0\"")], 0);
  EXPECT_EQ(samples[Named("vllm:request_params_n_bucket", "le=\"5.0\"")], 1);
  EXPECT_EQ(samples[Named("vllm:iteration_tokens_total_sum")], 20010);
  EXPECT_EQ(samples[Named("vllm:iteration_tokens_total_bucket", "le=\"8.0\"")], 1);
  EXPECT_EQ(samples[Named("vllm:iteration_tokens_total_bucket", "le=\"+Inf\"")], 3);
  EXPECT_EQ(samples[Named("vllm:spec_decode_num_accepted_tokens_per_pos_total", "position=\"1\"")],
            2);
  EXPECT_EQ(samples[Named("sparkspan_draft_verified_per_pos_total", "position=\"0\"")], 6);
  EXPECT_EQ(samples[Named("sparkspan_draft_predicted_per_pos_total", "position=\"1\"")], 2.25);
  EXPECT_EQ(samples[Named("sparkspan_draft_alarm")], 0);
  EXPECT_EQ(samples[Named("http_requests_total",
                          "method=\"POST\",handler=\"/v1/chat/completions\",status=\"2xx\"")],
            1);
  EXPECT_GT(samples[Named("process_resident_memory_bytes")], 0);
}

TEST(MetricsTest, PrintsNumbersAndLabelsAsPrometheusDoes) {
  EXPECT_EQ(PrometheusNumber(0.001), "0.001");
  EXPECT_EQ(PrometheusNumber(1), "1.0");
  EXPECT_EQ(PrometheusNumber(1e6), "1e+06");
  EXPECT_EQ(PrometheusNumber(0.1 + 0.2), "0.30000000000000004");
  EXPECT_EQ(PrometheusNumber(INFINITY), "+Inf");
  PrometheusText page({});
  page.Family("x", "gauge", "An x.");
  page.Sample(2, {{"a", "q\"\\\n"}});
  page.Sample(3);
  EXPECT_EQ(page.text(), "# HELP x An x.\n# TYPE x gauge\nx{a=\"q\\\"\\\\\\n\"} 2.0\nx 3.0\n");
}

TEST(MetricsTest, BoundsStopAtTheContext) {
  EXPECT_EQ(OneTwoFiveBounds(1048576).back(), 1000000);
  EXPECT_EQ(OneTwoFiveBounds(30), (std::vector<double>{1, 2, 5, 10, 20}));
}

}  // namespace
}  // namespace sparkspan::head::status
