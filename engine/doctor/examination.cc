#include "engine/doctor/examination.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/config/check_supported.h"

namespace sparkspan::engine::doctor {
namespace {

void AddUse(const std::string& interface,
            const char* plane,
            const fabric::Ipv4Address* address,
            std::vector<DeclaredUse>* uses) {
  auto use = std::find_if(uses->begin(), uses->end(), [&](const DeclaredUse& other) {
    return other.interface == interface;
  });
  if (use == uses->end()) {
    uses->push_back({interface, plane, {}});
    use = uses->end() - 1;
  } else if (use->planes.find(plane) == std::string::npos) {
    use->planes += std::string(", ") + plane;
  }
  if (address != nullptr &&
      std::find(use->addresses.begin(), use->addresses.end(), *address) == use->addresses.end()) {
    use->addresses.push_back(*address);
  }
}

void SkipWhatThisReleaseCannotSee(Report* report) {
  constexpr const char* kNoVerbs = "this release has no RDMA transport to measure with";
  constexpr const char* kNoNccl = "this release does not use NCCL";
  constexpr const char* kNoGpu = "this release does not compute on a GPU";
  report->Skip("rdma.bandwidth", kNoVerbs);
  report->Skip("rdma.round-trip", kNoVerbs);
  report->Skip("rdma.registration", kNoVerbs);
  report->Skip("nccl.version", kNoNccl);
  report->Skip("nccl.all-reduce", kNoNccl);
  report->Skip("gpu.direct", kNoGpu);
  report->Skip("gpu.power", kNoGpu);
  report->Skip("gpu.temperature", kNoGpu);
}

}  // namespace

std::vector<fabric::Rail> ResolvedRails(const Examination& examination) {
  std::vector<fabric::Rail> rails;
  for (const std::string& name : examination.node.rails) {
    absl::StatusOr<fabric::Rail> rail = fabric::ResolveRail(
        "data", name, examination.facts.interfaces, examination.facts.rdma_ports);
    if (rail.ok()) {
      rails.push_back(*std::move(rail));
    }
  }
  return rails;
}

std::vector<DeclaredUse> DeclaredUses(const Examination& examination) {
  const config::NodeConfig& node = examination.node;
  std::vector<DeclaredUse> uses;
  AddUse(node.control.interface, "control", &node.control.address, &uses);
  if (!node.ranks.empty()) {
    AddUse(node.bootstrap.interface, "bootstrap", &node.bootstrap.address, &uses);
  }
  for (const fabric::Rail& rail : ResolvedRails(examination)) {
    if (!rail.netdev.empty()) {
      AddUse(rail.netdev, "data", nullptr, &uses);
    }
  }
  return uses;
}

Report ExamineAfterFailure(const Examination& examination) {
  Report report;
  for (const auto check :
       {&CheckInterfaces, &CheckRoutes, &CheckRails, &CheckRdma, &CheckKernelLog}) {
    check(examination, &report);
  }
  return report;
}

void CheckRelease(const config::ClusterConfig& config, Report* report) {
  const absl::Status status = CheckSupported(config);
  if (status.ok()) {
    report->Pass("config.supported", "cluster.yaml", "nothing that this release cannot do");
  } else {
    report->Fail("config.supported",
                 "cluster.yaml",
                 std::string(status.message()),
                 "a file that head and workers start with",
                 "change that key, in the file of every node");
  }
}

Report Examine(const Examination& examination) {
  Report report;
  for (const auto check : {&CheckInterfaces,
                           &CheckSubnets,
                           &CheckRoutes,
                           &CheckRails,
                           &CheckRdma,
                           &CheckFabricVariables,
                           &CheckMemory,
                           &CheckHost,
                           &CheckKernelLog,
                           &CheckDisk,
                           &CheckTls}) {
    check(examination, &report);
  }
  SkipWhatThisReleaseCannotSee(&report);
  return report;
}

}  // namespace sparkspan::engine::doctor
