#include <algorithm>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/config/node_environment.h"
#include "engine/doctor/examination.h"
#include "engine/fabric/nccl_settings.h"

namespace sparkspan::engine::doctor {
namespace {

using fabric::Interface;
using fabric::Rail;
using fabric::RdmaPort;

constexpr std::int64_t kPciErrorsMax = 1'000;

void CheckHalves(const Examination& examination,
                 const std::vector<const Interface*>& rails,
                 Report* report) {
  std::set<std::string> cabled;
  std::set<std::string> cages;
  for (const Interface& interface : examination.facts.interfaces) {
    if (!CageOf(interface).empty() && interface.is_up()) {
      cabled.insert(CageOf(interface));
    }
  }
  for (const Interface* rail : rails) {
    cages.insert(CageOf(*rail));
  }
  if (cages.contains("")) {
    report->Skip("rail.halves", "the kernel does not say which cage each rail belongs to");
    return;
  }
  if (cages.size() > 1 && cabled.size() == 1) {
    report->Fail(
        "rail.halves",
        examination.node.name,
        "the rails belong to different cages, of which only " + *cabled.begin() + " is cabled",
        "both halves of the cabled cage",
        "name the two interfaces of cage " + *cabled.begin() + " in `data`");
    return;
  }
  for (const Interface* rail : rails) {
    for (const Interface& other : examination.facts.interfaces) {
      const bool is_declared = std::any_of(
          rails.begin(), rails.end(), [&](const auto* known) { return known->name == other.name; });
      if (AreHalves(*rail, other) && other.is_up() && !is_declared) {
        report->Warn("rail.halves",
                     rail->name,
                     "one of the two PCIe halves of its cage, which carries 98 Gb/s at most",
                     "both halves",
                     "add " + other.name + " to `data`");
        return;
      }
    }
  }
  report->Pass("rail.halves", examination.node.name, "every half of the cabled cages in use");
}

// Of "32.0 GT/s PCIe"; 0 where the kernel does not say.
double GigatransfersOf(const std::string& speed) {
  std::istringstream words(speed);
  double value = 0;
  return words >> value ? value : 0;
}

void CheckPcie(const NodeFacts& facts, const Interface& rail, Report* report) {
  if (!rail.pcie_width.has_value() || !rail.pcie_width_max.has_value()) {
    report->Skip("pcie.width", rail.name + ": the kernel does not say");
  } else if (*rail.pcie_width < *rail.pcie_width_max) {
    report->Warn("pcie.width",
                 rail.name,
                 absl::StrFormat("x%d", *rail.pcie_width),
                 absl::StrFormat("x%d", *rail.pcie_width_max),
                 "update the machine's firmware (fwupdmgr update)");
  } else {
    report->Pass("pcie.width", rail.name, absl::StrFormat("x%d", *rail.pcie_width));
  }
  const double speed = GigatransfersOf(rail.pcie_speed);
  if (speed == 0 || GigatransfersOf(rail.pcie_speed_max) == 0) {
    report->Skip("pcie.speed", rail.name + ": the kernel does not say");
  } else if (speed < GigatransfersOf(rail.pcie_speed_max)) {
    report->Warn("pcie.speed",
                 rail.name,
                 rail.pcie_speed,
                 rail.pcie_speed_max,
                 "update the machine's firmware (fwupdmgr update), and restart it");
  } else {
    report->Pass("pcie.speed", rail.name, rail.pcie_speed);
  }
  const auto errors = facts.pci_errors.find(rail.name);
  const std::int64_t count = errors == facts.pci_errors.end() ? 0 : errors->second;
  if (count > kPciErrorsMax) {
    report->Warn("pcie.errors",
                 rail.name,
                 absl::StrFormat("%d corrected errors since the start", count),
                 absl::StrFormat("at most %d", kPciErrorsMax),
                 "restart the machine, and have its NIC examined if they come back");
  } else {
    report->Pass("pcie.errors", rail.name, absl::StrFormat("%d corrected errors", count));
  }
}

const RdmaPort* FindPort(const NodeFacts& facts, const std::string& device) {
  const auto found = std::find_if(facts.rdma_ports.begin(),
                                  facts.rdma_ports.end(),
                                  [&](const RdmaPort& port) { return port.device == device; });
  return found == facts.rdma_ports.end() ? nullptr : &*found;
}

// The index of the rail's GID where it has one.
std::optional<int> CheckRdmaRail(const NodeFacts& facts, const Rail& rail, Report* report) {
  const RdmaPort* port = FindPort(facts, rail.rdma_device);
  if (port == nullptr) {
    report->Fail("rdma.device",
                 rail.name,
                 "no RDMA device",
                 "one on the same PCI function",
                 "load the driver (modprobe mlx5_ib); in a container pass /dev/infiniband");
    return std::nullopt;
  }
  report->Pass("rdma.device", rail.name, rail.rdma_device + " of " + rail.netdev);
  if (!port->is_active()) {
    report->Fail("rdma.port",
                 rail.rdma_device,
                 "state " + port->state,
                 "ACTIVE",
                 "bring the link up: NCCL leaves such a port out without a word");
    return std::nullopt;
  }
  report->Pass("rdma.port", rail.rdma_device, port->state);
  const Interface* interface = FindByName(facts, rail.netdev);
  if (interface == nullptr || interface->addresses.empty()) {
    report->Skip("rdma.gid", rail.name + ": its interface has no IPv4 address");
    return std::nullopt;
  }
  const fabric::Ipv4Address address = interface->addresses[0].address;
  const absl::StatusOr<int> index = FindGidIndex(*port, rail.netdev, address);
  if (!index.ok()) {
    report->Fail("rdma.gid",
                 rail.rdma_device,
                 std::string(index.status().message()),
                 "an IPv4-mapped RoCE v2 entry",
                 "take the interface down and up again, so that its address enters the table");
    return std::nullopt;
  }
  report->Pass(
      "rdma.gid", rail.rdma_device, absl::StrFormat("index %d for %s", *index, ToString(address)));
  return *index;
}

void CheckGidIndices(const Examination& examination,
                     const std::vector<std::optional<int>>& indices,
                     Report* report) {
  std::string list;
  bool is_common = true;
  for (const std::optional<int>& index : indices) {
    if (!index.has_value()) {
      return;  // Reported above.
    }
    is_common = is_common && index == indices[0];
    list += (list.empty() ? "" : ", ") + std::to_string(*index);
  }
  for (const auto& [name, value] : examination.facts.fabric_variables) {
    if (name == "NCCL_IB_GID_INDEX" && examination.config.allow_env_overrides && !is_common) {
      report->Warn("rdma.gid-index",
                   examination.node.name,
                   "indices " + list + ", but NCCL_IB_GID_INDEX=" + value + " is kept",
                   "no such variable",
                   "unset it, or set allow_env_overrides to false");
      return;
    }
  }
  report->Pass("rdma.gid-index",
               examination.node.name,
               "indices " + list +
                   (is_common ? ": NCCL_IB_GID_INDEX is set" : ": NCCL_IB_GID_INDEX stays unset"));
}

// As a rank that computes on a GPU would export them.
void ReportNcclSettings(const Examination& examination, Report* report) {
  const absl::StatusOr<fabric::NcclPlan> plan = config::PlanNccl(examination.config,
                                                                 examination.node,
                                                                 examination.facts.interfaces,
                                                                 examination.facts.rdma_ports);
  if (!plan.ok()) {
    report->Skip("nccl.settings", std::string(plan.status().message()));
    return;
  }
  std::string text;
  for (const fabric::Setting& setting : NcclSettings(*plan)) {
    text += (text.empty() ? "" : " ") + setting.name + "=" + setting.value;
  }
  report->Info("nccl.settings", examination.node.name, text);
}

}  // namespace

void CheckRails(const Examination& examination, Report* report) {
  if (examination.node.data != config::DataTransport::kRails) {
    for (const char* id :
         {"rail.resolved", "rail.halves", "pcie.width", "pcie.speed", "pcie.errors"}) {
      report->Skip(id, "data is " + std::string(ToString(examination.node.data)));
    }
    return;
  }
  std::vector<const Interface*> interfaces;
  for (const std::string& name : examination.node.rails) {
    const absl::StatusOr<Rail> rail = fabric::ResolveRail(
        "data", name, examination.facts.interfaces, examination.facts.rdma_ports);
    if (!rail.ok()) {
      report->Fail("rail.resolved",
                   name,
                   std::string(rail.status().message()),
                   "the exact name of a netdev or an RDMA device",
                   "check the cable, or correct the name in `data`");
      continue;
    }
    report->Pass("rail.resolved", name, rail->netdev + " with " + rail->rdma_device);
    if (const Interface* interface = FindByName(examination.facts, rail->netdev);
        interface != nullptr) {
      interfaces.push_back(interface);
      CheckPcie(examination.facts, *interface, report);
    }
  }
  CheckHalves(examination, interfaces, report);
}

void CheckRdma(const Examination& examination, Report* report) {
  if (examination.node.data != config::DataTransport::kRails) {
    for (const char* id :
         {"rdma.device", "rdma.port", "rdma.gid", "rdma.gid-index", "rdma.files"}) {
      report->Skip(id, "data is " + std::string(ToString(examination.node.data)));
    }
    ReportNcclSettings(examination, report);
    return;
  }
  if (examination.facts.has_rdma_files) {
    report->Pass("rdma.files", "", "/dev/infiniband is there");
  } else {
    report->Fail("rdma.files",
                 "",
                 "no /dev/infiniband/uverbs*",
                 "one for each RDMA device",
                 examination.facts.in_container
                     ? "start the container with --device /dev/infiniband"
                     : "load ib_uverbs (modprobe ib_uverbs)");
  }
  const std::vector<Rail> rails = ResolvedRails(examination);
  std::vector<std::optional<int>> indices;
  for (const Rail& rail : rails) {
    indices.push_back(CheckRdmaRail(examination.facts, rail, report));
  }
  CheckGidIndices(examination, indices, report);
  ReportNcclSettings(examination, report);
}

}  // namespace sparkspan::engine::doctor
