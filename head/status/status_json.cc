#include "head/status/status_json.h"

#include "nlohmann/json.hpp"

namespace sparkspan::head::status {
namespace {

using Json = nlohmann::ordered_json;

// [items]: what `describe` makes of each.
template <typename Item, typename Describe>
Json List(const std::vector<Item>& items, Describe describe) {
  Json list = Json::array();
  for (const Item& item : items) {
    list.push_back(describe(item));
  }
  return list;
}

Json RailJson(const api::RailStatus& rail) {
  return {{"plane", rail.plane},
          {"peer", rail.peer},
          {"interface", rail.interface},
          {"local_address", rail.local_address},
          {"binding", rail.binding},
          {"sent_bytes", rail.sent_bytes},
          {"received_bytes", rail.received_bytes}};
}

Json InterfaceJson(const api::InterfaceStatus& interface) {
  Json planes = Json::array();
  if (interface.control) {
    planes.push_back("control");
  }
  if (interface.data) {
    planes.push_back("data");
  }
  return {{"name", interface.name},
          {"address", interface.address},
          {"index", interface.index},
          {"planes", std::move(planes)},
          {"fault", interface.fault},
          {"path_fault", interface.path_fault},
          {"net", interface.net},
          {"mtu", interface.link.mtu},
          {"speed_mbps", interface.link.speed_mbps},
          {"duplex", interface.link.duplex},
          {"pcie_width", interface.link.pcie_width},
          {"pcie_speed", interface.link.pcie_speed},
          {"driver", interface.link.driver},
          {"rdma_device", interface.link.rdma_device},
          {"gid_index", interface.link.gid_index},
          {"gid", interface.link.gid},
          {"network_namespace", interface.link.network_namespace},
          {"sent_bytes", interface.sent_bytes},
          {"received_bytes", interface.received_bytes},
          {"errors", interface.errors},
          {"dropped", interface.dropped},
          {"rdma_sent_bytes", interface.rdma_sent_bytes},
          {"rdma_received_bytes", interface.rdma_received_bytes},
          {"sent_bytes_per_second", interface.sent_bytes_per_second},
          {"received_bytes_per_second", interface.received_bytes_per_second}};
}

Json RankJson(const api::RankStatus& rank) {
  return {{"rank", rank.rank},
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
          {"memory_available_bytes", rank.memory_available_bytes},
          {"memory_shortage", rank.memory_shortage},
          {"rails", List(rank.rails, RailJson)},
          {"interfaces", List(rank.interfaces, InterfaceJson)}};
}

Json FindingJson(const api::FindingStatus& finding) {
  return {{"id", finding.id},
          {"outcome", finding.outcome},
          {"subject", finding.subject},
          {"found", finding.found},
          {"expected", finding.expected},
          {"next_step", finding.next_step}};
}

Json FailureJson(const std::optional<api::FailureStatus>& failure) {
  if (!failure.has_value()) {
    return nullptr;
  }
  return {{"unix_seconds", failure->unix_seconds},
          {"epoch", failure->epoch},
          {"reason", failure->reason},
          {"examination", failure->examination},
          {"findings", List(failure->findings, FindingJson)}};
}

}  // namespace

std::string StatusJson(const ServedFacts& served, const api::EngineStatus& engine) {
  Json root = {{"model", served.model_name},
               {"encoding_profile", served.encoding_profile},
               {"context_length_configured", served.context_length},
               {"context_length", engine.request_tokens_max},
               {"context_cut", engine.context_cut},
               {"version", served.version},
               {"state", std::string(api::EngineStateName(engine.state))},
               {"detail", engine.detail},
               {"epoch", engine.epoch},
               {"steps", engine.steps_total},
               {"numerics", engine.numerics},
               {"draft_mode", engine.draft_mode},
               {"verification", engine.verification},
               {"draft_alarm", engine.draft_alarm},
               {"acceptance_length", engine.acceptance_length()},
               {"running", engine.running},
               {"waiting", engine.waiting},
               {"running_max", engine.running_max},
               {"waiting_max", engine.waiting_max},
               {"kv_blocks_used", engine.kv_blocks_used},
               {"kv_blocks_total", engine.kv_blocks_total},
               {"kv_block_tokens", engine.kv_block_tokens},
               {"generation_tokens_per_second", engine.generation_tokens_per_second}};
  root["drafts_by_position"] =
      List(engine.drafts_by_position, [](const api::DraftPosition& position) -> Json {
        return {{"verified", position.verified},
                {"accepted", position.accepted},
                {"predicted", position.predicted}};
      });
  root["ranks"] = List(engine.ranks, RankJson);
  root["head"] = {{"node", engine.head_node},
                  {"interfaces", List(engine.head_interfaces, InterfaceJson)}};
  root["last_failure"] = FailureJson(engine.last_failure);
  root["errors"] = List(engine.errors, [](const api::ErrorStatus& error) -> Json {
    return {{"unix_seconds", error.unix_seconds}, {"what", error.what}, {"times", error.times}};
  });
  root["phases"] = List(engine.phases, [](const api::StartUpPhase& phase) -> Json {
    return {{"name", phase.name}, {"seconds", phase.seconds}, {"done", phase.done}};
  });
  return root.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sparkspan::head::status
