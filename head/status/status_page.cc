#include "head/status/status_page.h"

#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace sparkspan::head::status {
namespace {

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string Row(std::string_view name, const std::string& value) {
  return absl::StrFormat("<tr><th>%s</th><td>%s</td></tr>\n", EscapeHtml(name), EscapeHtml(value));
}

std::string Mebibytes(std::int64_t bytes) {
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

std::string DraftingRows(const api::EngineStatus& engine) {
  std::string rows = Row("Drafting", engine.draft_mode);
  if (engine.drafts_total > 0) {
    rows += Row("Acceptance length",
                absl::StrFormat("%.2f tokens a step",
                                1 + static_cast<double>(engine.accepted_tokens_total) /
                                        static_cast<double>(engine.drafts_total)));
  }
  return rows + (engine.draft_alarm.empty() ? "" : Row("Drafter", engine.draft_alarm));
}

nlohmann::ordered_json RailsJson(const std::vector<api::RailStatus>& rails) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const api::RailStatus& rail : rails) {
    list.push_back({{"plane", rail.plane},
                    {"peer", rail.peer},
                    {"interface", rail.interface},
                    {"local_address", rail.local_address},
                    {"binding", rail.binding}});
  }
  return list;
}

}  // namespace

std::string StatusJson(const std::string& model_name,
                       const std::string& version,
                       const api::EngineStatus& engine) {
  nlohmann::ordered_json root = {
      {"model", model_name},
      {"version", version},
      {"state", std::string(api::EngineStateName(engine.state))},
      {"detail", engine.detail},
      {"epoch", engine.epoch},
      {"steps", engine.steps_total},
      {"numerics", engine.numerics},
      {"draft_mode", engine.draft_mode},
      {"verification", engine.verification},
      {"draft_alarm", engine.draft_alarm},
      {"running", engine.running},
      {"waiting", engine.waiting},
      {"running_max", engine.running_max},
      {"waiting_max", engine.waiting_max},
      {"kv_blocks_used", engine.kv_blocks_used},
      {"kv_blocks_total", engine.kv_blocks_total},
      {"kv_block_tokens", engine.kv_block_tokens},
      {"generation_tokens_per_second", engine.generation_tokens_per_second}};
  root["drafts_by_position"] = nlohmann::ordered_json::array();
  for (const api::DraftPosition& position : engine.drafts_by_position) {
    root["drafts_by_position"].push_back({{"verified", position.verified},
                                          {"accepted", position.accepted},
                                          {"predicted", position.predicted}});
  }
  root["ranks"] = nlohmann::ordered_json::array();
  for (const api::RankStatus& rank : engine.ranks) {
    root["ranks"].push_back({{"rank", rank.rank},
                             {"node", rank.node},
                             {"address", rank.address},
                             {"device", rank.device},
                             {"state", rank.state},
                             {"detail", rank.detail},
                             {"position", rank.position},
                             {"heard_seconds_ago", rank.heard_seconds_ago},
                             {"clock_ahead_seconds", rank.clock_ahead_seconds},
                             {"weights_bytes", rank.weights_bytes},
                             {"kv_bytes", rank.kv_bytes},
                             {"resident_bytes", rank.resident_bytes},
                             {"rails", RailsJson(rank.rails)}});
  }
  root["phases"] = nlohmann::ordered_json::array();
  for (const api::StartUpPhase& phase : engine.phases) {
    root["phases"].push_back(
        {{"name", phase.name}, {"seconds", phase.seconds}, {"done", phase.done}});
  }
  return root.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string StatusHtml(const std::string& model_name,
                       const std::string& version,
                       const api::EngineStatus& engine) {
  std::string page = absl::StrFormat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta http-equiv=\"refresh\" content=\"5\"><title>sparkspan: %s</title><style>"
      "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse;margin-bottom:1.5em}"
      "th,td{text-align:left;padding:.2em 1em .2em 0}</style></head><body>\n<h1>%s</h1>\n<table>\n",
      EscapeHtml(model_name),
      EscapeHtml(model_name));
  page += Row("State", std::string(api::EngineStateName(engine.state)));
  page += engine.detail.empty() ? "" : Row("Why", engine.detail);
  page += Row("Running", absl::StrFormat("%d of %d", engine.running, engine.running_max));
  page += Row("Waiting", absl::StrFormat("%d of %d", engine.waiting, engine.waiting_max));
  page += Row("KV blocks used",
              absl::StrFormat("%d of %d, %d tokens each",
                              engine.kv_blocks_used,
                              engine.kv_blocks_total,
                              engine.kv_block_tokens));
  page += Row("Tokens per second", absl::StrFormat("%.1f", engine.generation_tokens_per_second));
  page += Row("Numerics", engine.numerics) + DraftingRows(engine);
  page += Row("Version", version) +
          "</table>\n<h2>Ranks</h2>\n<table>\n<tr><th>Rank</th>"
          "<th>Node</th><th>Device</th><th>State</th><th>Position</th><th>Weights</"
          "th><th>Resident</th></tr>\n";
  for (const api::RankStatus& rank : engine.ranks) {
    page += absl::StrFormat(
        "<tr><td>%d</td><td>%s</td><td>%s</td><td>%s "
        "%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
        rank.rank,
        EscapeHtml(rank.node),
        EscapeHtml(rank.device),
        EscapeHtml(rank.state),
        EscapeHtml(rank.detail),
        EscapeHtml(rank.position),
        Mebibytes(rank.weights_bytes),
        Mebibytes(rank.resident_bytes));
  }
  page +=
      "</table>\n<h2>Connections</h2>\n<table>\n<tr><th>Rank</th><th>Plane</th><th>Peer</th>"
      "<th>Interface</th><th>From</th><th>Bound by</th></tr>\n";
  for (const api::RankStatus& rank : engine.ranks) {
    for (const api::RailStatus& rail : rank.rails) {
      page += absl::StrFormat(
          "<tr><td>%d</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
          rank.rank,
          EscapeHtml(rail.plane),
          EscapeHtml(rail.peer),
          EscapeHtml(rail.interface),
          EscapeHtml(rail.local_address),
          EscapeHtml(rail.binding));
    }
  }
  page += "</table>\n<h2>Start-up</h2>\n<table>\n";
  for (const api::StartUpPhase& phase : engine.phases) {
    page += Row(phase.name,
                absl::StrFormat("%.2f s%s", phase.seconds, phase.done ? "" : ", still going"));
  }
  return page + "</table>\n</body></html>\n";
}

}  // namespace sparkspan::head::status
