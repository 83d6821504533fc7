#include "head/status/interface_metrics.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sparkspan::head::status {
namespace {

struct Counter {
  std::string_view name;
  std::string_view help;
  std::uint64_t api::InterfaceStatus::*value;
};

constexpr Counter kCounters[] = {
    {"sparkspan_interface_sent_bytes_total",
     "Bytes that a declared interface sent, whoever sent them; RDMA bypasses it.",
     &api::InterfaceStatus::sent_bytes},
    {"sparkspan_interface_received_bytes_total",
     "Bytes that a declared interface received; RDMA bypasses it.",
     &api::InterfaceStatus::received_bytes},
    {"sparkspan_interface_rdma_sent_bytes_total",
     "Bytes that the RDMA devices of a declared interface sent.",
     &api::InterfaceStatus::rdma_sent_bytes},
    {"sparkspan_interface_rdma_received_bytes_total",
     "Bytes that the RDMA devices of a declared interface received.",
     &api::InterfaceStatus::rdma_received_bytes},
    {"sparkspan_interface_errors_total",
     "Packets with errors, both directions.",
     &api::InterfaceStatus::errors},
    {"sparkspan_interface_dropped_total",
     "Packets dropped, both directions.",
     &api::InterfaceStatus::dropped}};

using Labelled = std::vector<std::pair<Labels, const api::InterfaceStatus*>>;

void AddInterfaces(const std::string& rank,
                   const std::string& node,
                   const std::vector<api::InterfaceStatus>& interfaces,
                   Labelled* labelled) {
  for (const api::InterfaceStatus& interface : interfaces) {
    const std::string plane = interface.control && interface.data ? "control+data"
                              : interface.control                 ? "control"
                                                                  : "data";
    labelled->push_back(
        {{{"rank", rank}, {"node", node}, {"interface", interface.name}, {"plane", plane}},
         &interface});
  }
}

struct LinkGauge {
  std::string_view name;
  std::string_view help;
  std::int64_t engine::fabric::LinkFacts::*value;
};

constexpr LinkGauge kLinkGauges[] = {{"sparkspan_interface_mtu_bytes",
                                      "MTU of a declared interface.",
                                      &engine::fabric::LinkFacts::mtu},
                                     {"sparkspan_interface_speed_mbps",
                                      "Speed of its link; 0 where the driver does not say.",
                                      &engine::fabric::LinkFacts::speed_mbps},
                                     {"sparkspan_interface_pcie_lanes",
                                      "PCIe lanes in use; 0 where there are none.",
                                      &engine::fabric::LinkFacts::pcie_width}};

void WriteLinks(PrometheusText* page, const Labelled& labelled) {
  for (const LinkGauge& gauge : kLinkGauges) {
    page->Family(gauge.name, "gauge", gauge.help);
    for (const auto& [labels, interface] : labelled) {
      page->Sample(static_cast<double>(interface->link.*gauge.value), labels);
    }
  }
  page->Family("sparkspan_interface_info", "gauge", "1; what a declared interface is made of.");
  for (const auto& [labels, interface] : labelled) {
    const engine::fabric::LinkFacts& link = interface->link;
    Labels all = labels;
    all.insert(all.end(),
               {{"net", interface->net},
                {"driver", link.driver},
                {"duplex", link.duplex},
                {"pcie_speed", link.pcie_speed},
                {"rdma_device", link.rdma_device},
                {"gid_index", link.gid_index < 0 ? "" : std::to_string(link.gid_index)},
                {"network_namespace", link.network_namespace}});
    page->Sample(1.0, all);
  }
}

void WriteConnections(PrometheusText* page,
                      std::string_view name,
                      std::string_view help,
                      std::uint64_t api::RailStatus::*value,
                      const api::EngineStatus& engine) {
  page->Family(name, "counter", help);
  for (const api::RankStatus& rank : engine.ranks) {
    for (const api::RailStatus& rail : rank.rails) {
      page->Sample(static_cast<double>(rail.*value),
                   {{"rank", std::to_string(rank.rank)},
                    {"plane", rail.plane},
                    {"peer", rail.peer},
                    {"interface", rail.interface}});
    }
  }
}

}  // namespace

void WriteInterfaces(PrometheusText* page, const api::EngineStatus& engine) {
  Labelled labelled;
  AddInterfaces("head", engine.head_node, engine.head_interfaces, &labelled);
  for (const api::RankStatus& rank : engine.ranks) {
    AddInterfaces(std::to_string(rank.rank), rank.node, rank.interfaces, &labelled);
  }
  for (const Counter& counter : kCounters) {
    page->Family(counter.name, "counter", counter.help);
    for (const auto& [labels, interface] : labelled) {
      page->Sample(static_cast<double>(interface->*counter.value), labels);
    }
  }
  page->Family("sparkspan_interface_up", "gauge", "1 while an interface is as declared.");
  for (const auto& [labels, interface] : labelled) {
    page->Sample(interface->fault.empty() ? 1.0 : 0.0, labels);
  }
  WriteLinks(page, labelled);
  WriteConnections(page,
                   "sparkspan_connection_sent_bytes_total",
                   "Bytes sent on a proven connection: control since the head started (by the "
                   "head), data since the group was formed (by the rank).",
                   &api::RailStatus::sent_bytes,
                   engine);
  WriteConnections(page,
                   "sparkspan_connection_received_bytes_total",
                   "Bytes received on a proven connection.",
                   &api::RailStatus::received_bytes,
                   engine);
}

}  // namespace sparkspan::head::status
