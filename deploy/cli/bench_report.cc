#include "deploy/cli/bench_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/strings/str_format.h"
#include "deploy/cli/quantile.h"

namespace sparkspan::deploy::cli {
namespace {

using nlohmann::ordered_json;

constexpr double kMega = 1e6;
constexpr double kGiga = 1e9;

ordered_json TrafficJson(const WeightTraffic& traffic) {
  return {{"attention", traffic.attention},
          {"experts", traffic.experts},
          {"shared", traffic.shared},
          {"streams", traffic.streams},
          {"head", traffic.head},
          {"total", traffic.total()}};
}

std::string Row(const std::string& name, const std::string& value) {
  return absl::StrFormat("%-28s %s\n", name, value);
}

std::string HeadRows(const BenchReport& report) {
  const kernels::OpsShape& ops = report.shape.ops;
  return Row("machine",
             absl::StrFormat("%d processors, %s, load %.1f before and %.1f after",
                             report.processors,
                             report.vector_target,
                             report.load_before,
                             report.load_after)) +
         Row("model",
             absl::StrFormat("%.2f GB, %d layers of width %d, %d of %d experts, vocabulary %d",
                             static_cast<double>(report.checkpoint_bytes) / kGiga,
                             report.shape.layers(),
                             ops.hidden,
                             ops.experts_per_token,
                             ops.experts,
                             report.shape.vocabulary)) +
         Row("run",
             absl::StrFormat("%d ranks, %d threads each, seed %d",
                             report.options.ranks,
                             report.options.threads,
                             report.options.seed));
}

std::string LoadRows(const BenchReport& report, const BenchFigures& figures) {
  const LoadTimes& load = report.steps.load;
  return Row("start",
             absl::StrFormat("open %.3f s, plan %.3f s, read %.2f s, check %.3f s, bind %.3f s",
                             load.open_s,
                             load.plan_s,
                             load.read_s,
                             load.check_s,
                             load.bind_s)) +
         Row("read from files",
             absl::StrFormat("%.0f MB/s%s",
                             figures.read_bytes_per_s / kMega,
                             report.checkpoint_reused ? "" : " (files were written just before)"));
}

std::string StepRows(const BenchReport& report, const BenchFigures& figures) {
  const BenchOptions& options = report.options;
  const WeightTraffic& traffic = report.steps.traffic;
  return Row("decode",
             absl::StrFormat("%.2f tok/s over %d steps after %d tokens; median %.1f ms, best %.1f",
                             figures.decode_tokens_per_s,
                             report.steps.decode_s.size(),
                             options.context,
                             figures.decode_median_s * 1e3,
                             figures.decode_best_s * 1e3)) +
         Row("weights read per token",
             absl::StrFormat("%.1f MB: attention %.1f, experts %.1f, shared %.1f, streams %.1f, "
                             "head %.1f",
                             traffic.total() / kMega,
                             traffic.attention / kMega,
                             traffic.experts / kMega,
                             traffic.shared / kMega,
                             traffic.streams / kMega,
                             traffic.head / kMega)) +
         Row("memory read beside",
             absl::StrFormat("%.1f GB/s median of %d passes over %d MiB, best %.1f",
                             figures.bandwidth_median / kGiga,
                             report.steps.bandwidth.size(),
                             options.buffer_bytes >> 20,
                             figures.bandwidth_best / kGiga)) +
         Row("decode's share of that",
             absl::StrFormat("%.0f %% of the medians, %.0f %% of the best",
                             figures.share_median * 100,
                             figures.share_best * 100)) +
         Row("prefill",
             absl::StrFormat("%.1f tok/s of %d tokens in one step",
                             figures.prefill_tokens_per_s,
                             options.prefill)) +
         Row("step outside the model",
             absl::StrFormat("median %.0f us, p99 %.0f us; of that choosing the token %.0f us",
                             figures.outside_median_us,
                             figures.outside_p99_us,
                             figures.sample_median_us));
}

}  // namespace

BenchFigures FiguresOf(const BenchReport& report) {
  const StepTimes& steps = report.steps;
  BenchFigures figures;
  figures.weight_bytes_per_token = steps.traffic.total();
  figures.decode_median_s = Median(steps.decode_s);
  figures.decode_best_s = Quantile(steps.decode_s, 0.0);
  figures.decode_tokens_per_s = static_cast<double>(steps.decode_s.size()) /
                                std::accumulate(steps.decode_s.begin(), steps.decode_s.end(), 0.0);
  figures.bandwidth_median = Median(steps.bandwidth);
  figures.bandwidth_best = Quantile(steps.bandwidth, 1.0);
  figures.share_median =
      figures.weight_bytes_per_token / figures.decode_median_s / figures.bandwidth_median;
  figures.share_best =
      figures.weight_bytes_per_token / figures.decode_best_s / figures.bandwidth_best;
  figures.prefill_tokens_per_s = static_cast<double>(report.options.prefill) / steps.prefill_s;
  std::vector<double> outside(steps.decode_s.size());
  std::transform(steps.decode_s.begin(),
                 steps.decode_s.end(),
                 steps.forward_s.begin(),
                 outside.begin(),
                 [](double all, double forward) { return (all - forward) * 1e6; });
  figures.outside_median_us = Median(outside);
  figures.outside_p99_us = Quantile(outside, 0.99);
  figures.sample_median_us = Median(steps.sample_s) * 1e6;
  figures.read_bytes_per_s = static_cast<double>(steps.load.read_bytes) / steps.load.read_s;
  return figures;
}

std::string ReportTable(const BenchReport& report) {
  const BenchFigures figures = FiguresOf(report);
  std::string text = HeadRows(report) + LoadRows(report, figures) + StepRows(report, figures);
  for (const ExchangeTime& exchange : report.exchanges) {
    text += Row(absl::StrFormat("all-reduce %d KiB, 2 ranks", exchange.bytes >> 10),
                absl::StrFormat("TCP over loopback %.0f us, memory %.0f us (medians of %d)",
                                exchange.tcp_us,
                                exchange.local_us,
                                report.options.exchanges));
  }
  return text;
}

std::string ReportJson(const BenchReport& report) {
  const BenchFigures figures = FiguresOf(report);
  const BenchOptions& options = report.options;
  const LoadTimes& load = report.steps.load;
  ordered_json json;
  json["version"] = 1;
  json["machine"] = {{"processors", report.processors},
                     {"vector_target", report.vector_target},
                     {"load_before", report.load_before},
                     {"load_after", report.load_after}};
  json["model"] = {{"bytes", report.checkpoint_bytes},
                   {"layers", report.shape.layers()},
                   {"hidden", report.shape.ops.hidden},
                   {"experts", report.shape.ops.experts},
                   {"experts_per_token", report.shape.ops.experts_per_token},
                   {"vocabulary", report.shape.vocabulary}};
  json["run"] = {{"ranks", options.ranks}, {"threads", options.threads}, {"seed", options.seed}};
  json["start"] = {{"reused", report.checkpoint_reused},
                   {"open_s", load.open_s},
                   {"plan_s", load.plan_s},
                   {"read_s", load.read_s},
                   {"read_bytes", load.read_bytes},
                   {"read_bytes_per_s", figures.read_bytes_per_s},
                   {"check_s", load.check_s},
                   {"bind_s", load.bind_s}};
  json["decode"] = {{"context_tokens", options.context},
                    {"steps", report.steps.decode_s.size()},
                    {"tokens_per_s", figures.decode_tokens_per_s},
                    {"median_s", figures.decode_median_s},
                    {"best_s", figures.decode_best_s},
                    {"weight_bytes_per_token", TrafficJson(report.steps.traffic)},
                    {"share_of_bandwidth_median", figures.share_median},
                    {"share_of_bandwidth_best", figures.share_best}};
  json["bandwidth"] = {{"buffer_bytes", options.buffer_bytes},
                       {"passes", report.steps.bandwidth.size()},
                       {"median_bytes_per_s", figures.bandwidth_median},
                       {"best_bytes_per_s", figures.bandwidth_best}};
  json["prefill"] = {{"tokens", options.prefill},
                     {"seconds", report.steps.prefill_s},
                     {"tokens_per_s", figures.prefill_tokens_per_s}};
  json["outside_model"] = {{"median_us", figures.outside_median_us},
                           {"p99_us", figures.outside_p99_us},
                           {"sample_median_us", figures.sample_median_us}};
  json["all_reduce"] = ordered_json::array();
  for (const ExchangeTime& exchange : report.exchanges) {
    json["all_reduce"].push_back({{"bytes", exchange.bytes},
                                  {"tcp_median_us", exchange.tcp_us},
                                  {"local_median_us", exchange.local_us}});
  }
  return json.dump(2) + "\n";
}

}  // namespace sparkspan::deploy::cli
