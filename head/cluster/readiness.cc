#include "head/cluster/readiness.h"

#include <string>
#include <vector>

#include "absl/strings/str_format.h"

namespace sparkspan::head::cluster {
namespace {

std::string NameOf(const api::RankStatus& rank) {
  return absl::StrFormat("rank %d (node %s)", rank.rank, rank.node);
}

std::vector<std::string> MachineFaults(const api::EngineStatus& status) {
  std::vector<std::string> faults;
  for (const api::InterfaceStatus& interface : status.head_interfaces) {
    if (!interface.fault.empty()) {
      faults.push_back(absl::StrFormat("head (node %s): %s", status.head_node, interface.fault));
    }
  }
  for (const api::RankStatus& rank : status.ranks) {
    for (const api::InterfaceStatus& interface : rank.interfaces) {
      if (!interface.fault.empty()) {
        faults.push_back(NameOf(rank) + ": " + interface.fault);
      }
    }
    if (!rank.memory_shortage.empty()) {
      faults.push_back(NameOf(rank) + ": " + rank.memory_shortage);
    }
  }
  return faults;
}

void AddTo(std::string* detail, const std::string& text) {
  *detail += (detail->empty() ? "" : "; ") + text;
}

}  // namespace

void JudgeReadiness(api::EngineStatus* status) {
  const std::vector<std::string> faults = MachineFaults(*status);
  if (status->state == api::EngineState::kReady) {
    if (!faults.empty()) {
      status->state = api::EngineState::kDegraded;
    }
  } else if (status->state == api::EngineState::kStarting ||
             status->state == api::EngineState::kDegraded) {
    for (const api::RankStatus& rank : status->ranks) {
      if (!rank.detail.empty() && status->detail.find(rank.detail) == std::string::npos) {
        AddTo(&status->detail,
              absl::StrFormat("%s is %s: %s", NameOf(rank), rank.state, rank.detail));
      }
    }
  } else {
    return;
  }
  for (const std::string& fault : faults) {
    const std::string what = fault.substr(fault.find(": ") + 2);
    if (status->detail.find(what) == std::string::npos) {
      AddTo(&status->detail, fault);
    }
  }
}

}  // namespace sparkspan::head::cluster
