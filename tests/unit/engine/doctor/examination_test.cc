#include "engine/doctor/examination.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "engine/doctor/machine.h"
#include "tests/unit/engine/doctor/known_faults.h"
#include "tests/unit/engine/doctor/spark_tree.h"

namespace sparkspan::engine::doctor {
namespace {

using Config = config::ClusterConfig;

Report ExamineTree(const SparkTree& tree, const config::ClusterConfig& config) {
  const absl::StatusOr<Machine> machine = MachineIn(tree.root());
  EXPECT_TRUE(machine.ok()) << machine.status();
  const absl::StatusOr<NodeFacts> facts = CollectFacts(*machine, config, config.nodes[0]);
  EXPECT_TRUE(facts.ok()) << facts.status();
  return Examine({config, config.nodes[0], *facts});
}

// The pair with what this release has: TCP, and CPUs.
Config TcpPair() {
  Config config = SparkPair();
  for (config::NodeConfig& node : config.nodes) {
    node.data = config::DataTransport::kTcp;
    node.rails.clear();
    node.ranks[0].device = {config::DeviceKind::kCpu, 4, 0};
  }
  return config;
}

std::vector<Finding> Of(const Report& report, const std::string& id) {
  std::vector<Finding> found;
  std::copy_if(report.findings().begin(),
               report.findings().end(),
               std::back_inserter(found),
               [&](const Finding& finding) { return finding.id == id; });
  return found;
}

std::vector<Fault> KnownFaults() {
  std::vector<Fault> faults;
  for (const auto& some : {NetworkFaults(), HostFaults()}) {
    faults.insert(faults.end(), some.begin(), some.end());
  }
  return faults;
}

class FaultTest : public testing::TestWithParam<Fault> {};

TEST_P(FaultTest, IsSeenByItsCheckAndInTheExitCode) {
  const Fault& fault = GetParam();
  SparkTree tree;
  Config config = SparkPair();
  fault.break_it(tree, config);
  const Report report = ExamineTree(tree, config);
  std::vector<Finding> fired;
  for (const Finding& finding : Of(report, fault.id)) {
    if (finding.outcome == fault.outcome) {
      fired.push_back(finding);
    }
  }
  ASSERT_FALSE(fired.empty()) << ToText(report, "spark1", /*verbose=*/true);
  EXPECT_THAT(fired[0].found + "\n" + fired[0].next_step, testing::HasSubstr(fault.message));
  EXPECT_FALSE(fired[0].expected.empty());
  EXPECT_FALSE(fired[0].next_step.empty());
  EXPECT_EQ(report.ExitCode(), report.Count(Outcome::kFailure) > 0 ? 4 : 3);
  if (fault.outcome == Outcome::kFailure) {
    EXPECT_EQ(report.ExitCode(), 4);
  }
}

TEST_P(FaultTest, IsNotSeenOnAHealthyMachine) {
  const SparkTree tree;
  const Report report = ExamineTree(tree, SparkPair());
  const std::vector<Finding> findings = Of(report, GetParam().id);
  ASSERT_FALSE(findings.empty()) << "the check does not look";
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.outcome, Outcome::kPass) << finding.found;
  }
}

INSTANTIATE_TEST_SUITE_P(Doctor,
                         FaultTest,
                         testing::ValuesIn(KnownFaults()),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(Examination, AHealthyMachineHasExitCode0AndEveryCheckHasAFault) {
  const SparkTree tree;
  const Report report = ExamineTree(tree, SparkPair());
  EXPECT_EQ(report.ExitCode(), 0) << ToText(report, "spark1", /*verbose=*/true);
  std::set<std::string> broken;
  for (const Fault& fault : KnownFaults()) {
    broken.insert(fault.id);
  }
  for (const Finding& finding : report.findings()) {
    if (finding.outcome == Outcome::kPass) {
      EXPECT_TRUE(broken.contains(finding.id)) << "no fault is known for " << finding.id;
    }
  }
}

TEST(Examination, TcpOnCpuSkipsWhatItDoesNotUseAndSaysWhy) {
  const SparkTree tree;
  const Report report = ExamineTree(tree, TcpPair());
  EXPECT_EQ(report.ExitCode(), 0) << ToText(report, "spark1", /*verbose=*/true);
  for (const char* id : {"rdma.gid", "rail.halves", "gpu.sole-user", "host.memlock"}) {
    ASSERT_EQ(Of(report, id).size(), 1u) << id;
    EXPECT_EQ(Of(report, id)[0].outcome, Outcome::kSkipped) << id;
    EXPECT_FALSE(Of(report, id)[0].found.empty()) << id;
  }
}

// What the release cannot do is no fault of the machine: a check of its own.
TEST(Examination, AFileThatTheDaemonsRefuseIsAFailure) {
  Report refused;
  CheckRelease(SparkPair(), &refused);
  ASSERT_EQ(Of(refused, "config.supported").size(), 1u);
  EXPECT_EQ(refused.ExitCode(), 4);
  EXPECT_THAT(Of(refused, "config.supported")[0].found,
              testing::HasSubstr("nodes.spark1.data: RDMA is not supported"));

  Report taken;
  CheckRelease(TcpPair(), &taken);
  ASSERT_EQ(Of(taken, "config.supported").size(), 1u);
  EXPECT_EQ(Of(taken, "config.supported")[0].outcome, Outcome::kPass);
  EXPECT_EQ(taken.ExitCode(), 0);

  Config config = TcpPair();
  config.api.tls = {.plaintext = false, .authority = "", .certificate = "c", .key = "k"};
  Report encrypted;
  CheckRelease(config, &encrypted);
  EXPECT_EQ(encrypted.ExitCode(), 4);
  EXPECT_THAT(Of(encrypted, "config.supported")[0].found, testing::HasSubstr("api.tls: TLS"));
}

// Tests run as root, whom nothing is denied.
TEST(Examination, AKeyThatThisUserMayNotReadIsNoReasonForANewOne) {
  const SparkTree tree;
  const Config config = SparkPair();
  const absl::StatusOr<Machine> machine = MachineIn(tree.root());
  ASSERT_TRUE(machine.ok()) << machine.status();
  absl::StatusOr<NodeFacts> facts = CollectFacts(*machine, config, config.nodes[0]);
  ASSERT_TRUE(facts.ok() && facts->tls.has_value()) << facts.status();
  EXPECT_FALSE(facts->tls->key.is_denied);
  facts->tls->key.text.reset();
  facts->tls->key.is_denied = true;
  const Report report = Examine({config, config.nodes[0], *facts});
  ASSERT_EQ(Of(report, "tls.key").size(), 1u);
  EXPECT_EQ(report.ExitCode(), 4);
  EXPECT_THAT(Of(report, "tls.key")[0].next_step, testing::HasSubstr("run the doctor as root"));
}

TEST(Examination, ProfilesOfOthersAreNoFault) {
  SparkTree tree;
  const std::string folder = "etc/NetworkManager/system-connections/";
  // For any wired interface: those of Wi-Fi, and those that have a profile of their own, are not.
  tree.Write(folder + "home.nmconnection", "[connection]\nid=home\ntype=wifi\n[ipv4]\nmethod=auto");
  tree.Write(folder + "any.nmconnection",
             "[connection]\nid=any\ntype=ethernet\n[ipv4]\nmethod=auto");
  tree.Write(folder + "off.nmconnection",
             "[connection]\nid=off\ninterface-name=enP7s7\nautoconnect=false\n"
             "[ipv4]\nmethod=auto");
  tree.Write("etc/netplan/50-all.yaml",
             "network:\n  ethernets:\n    enP7s7: {dhcp4: false}\n    enP2p1s0f1np1: {dhcp4: no}\n"
             "    rest: {match: {name: \"eth*\"}, dhcp4: true}\n"
             "    usb: {match: {driver: \"cdc*\"}, dhcp4: true}");
  const Report report = ExamineTree(tree, SparkPair());
  EXPECT_EQ(report.ExitCode(), 0) << ToText(report, "spark1", /*verbose=*/true);
}

TEST(Examination, WithoutRightsOrCertificatesItSaysSo) {
  SparkTree tree;
  tree.Remove("dev/kmsg");
  tree.Remove("disk");
  tree.Remove("proc/self");
  Config config = SparkPair();
  config.control_tls = {.plaintext = true, .authority = "", .certificate = "", .key = ""};
  const Report report = ExamineTree(tree, config);
  EXPECT_EQ(report.ExitCode(), 0) << ToText(report, "spark1", /*verbose=*/true);
  for (const char* id : {"host.kernel-log",
                         "host.memlock",
                         "disk.space",
                         "disk.speed",
                         "tls.certificate",
                         "tls.authority",
                         "tls.key",
                         "tls.names"}) {
    ASSERT_EQ(Of(report, id).size(), 1u) << id;
    EXPECT_EQ(Of(report, id)[0].outcome, Outcome::kSkipped) << id;
    EXPECT_FALSE(Of(report, id)[0].found.empty()) << id;
  }
}

TEST(Examination, RanksThatRunHoldTheirMemoryAlready) {
  SparkTree tree;
  tree.Write("proc/meminfo", "MemAvailable: 1000000 kB\nCached: 1 kB");
  tree.Write("proc/99/comm", "sparkspan-worke");
  const Report report = ExamineTree(tree, SparkPair());
  ASSERT_EQ(Of(report, "memory.free").size(), 1u);
  EXPECT_EQ(Of(report, "memory.free")[0].outcome, Outcome::kSkipped);
}

TEST(Examination, OwnDaemonsOnTheirPortsAreNoFault) {
  SparkTree tree;
  tree.Write("proc/99/comm", "sparkspan-head");
  tree.Link("proc/99/fd/3", "socket:[4711]");
  tree.Write("proc/net/tcp",
             "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0   "
             "     0 4711 1 0 100 0 0 10 0");
  const Report report = ExamineTree(tree, SparkPair());
  EXPECT_EQ(report.ExitCode(), 0);
  EXPECT_EQ(Of(report, "ports.free")[0].outcome, Outcome::kInfo);
}

}  // namespace
}  // namespace sparkspan::engine::doctor
