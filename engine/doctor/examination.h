#pragma once

#include <string>
#include <vector>

#include "engine/config/cluster_config.h"
#include "engine/doctor/facts.h"
#include "engine/doctor/finding.h"

// The checks of one node: pure functions from its facts and the configuration to findings. Each
// looks at one subject, and says for every identifier of docs/doctor.md that is its own whether it
// passed, was skipped and why, or what was found instead.
namespace sparkspan::engine::doctor {

struct Examination {
  const config::ClusterConfig& config;
  const config::NodeConfig& node;  // one of the config's
  const NodeFacts& facts;
};

// An interface that the node's entry declares, and what for.
struct DeclaredUse {
  std::string interface;
  std::string planes;                          // "control", "bootstrap, data"
  std::vector<fabric::Ipv4Address> addresses;  // declared to be on it

  std::string subject() const { return interface + " (" + planes + ")"; }
};

// Of the control and bootstrap pins and the rails, each interface once. A rail that is none of this
// machine's is left out; CheckRails reports it.
std::vector<DeclaredUse> DeclaredUses(const Examination& examination);

// Rails that could be resolved, in the order of `data`.
std::vector<fabric::Rail> ResolvedRails(const Examination& examination);

void CheckInterfaces(const Examination& examination, Report* report);       // interface.*
void CheckSubnets(const Examination& examination, Report* report);          // subnet.*
void CheckRoutes(const Examination& examination, Report* report);           // route.*
void CheckRails(const Examination& examination, Report* report);            // rail.*, pcie.*
void CheckRdma(const Examination& examination, Report* report);             // rdma.*
void CheckFabricVariables(const Examination& examination, Report* report);  // variables.*
void CheckMemory(const Examination& examination, Report* report);           // memory.*
void CheckHost(const Examination& examination, Report* report);  // host.*, gpu.*, ports.*, model.*
void CheckKernelLog(const Examination& examination, Report* report);  // host.kernel-log
void CheckDisk(const Examination& examination, Report* report);       // disk.*
void CheckTls(const Examination& examination, Report* report);        // tls.*

// What may have broken while the cluster served, of CollectFabricFacts: interface.*, route.*,
// rail.*, pcie.*, rdma.* and host.kernel-log.
Report ExamineAfterFailure(const Examination& examination);

// config.supported: what cluster.yaml says and this release refuses at start, whatever the machine.
void CheckRelease(const config::ClusterConfig& config, Report* report);

// All of the above but CheckRelease, and what no check of this release can look at.
Report Examine(const Examination& examination);

}  // namespace sparkspan::engine::doctor
