#include "head/cluster/rank_agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace sparkspan::head::cluster {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

WorkerIdentity Some() {
  WorkerIdentity identity;
  identity.program_version = "1.2.3";
  identity.config_hash = 0xC0FFEE;
  identity.checkpoint_hash = 0xABCD;
  identity.numerics_hash = 0x1234;
  identity.architecture = "aarch64";
  identity.simd_target = "NEON";
  identity.nccl_version = "2.29.3";
  return identity;
}

RemoteClusterOptions Head() {
  RemoteClusterOptions options;
  options.program_version = "1.2.3";
  options.config_hash = 0xC0FFEE;
  options.checkpoint_hash = 0xABCD;
  return options;
}

std::string DifferenceAfter(const std::function<void(WorkerIdentity&)>& change) {
  WorkerIdentity other = Some();
  change(other);
  const absl::Status status = CheckAlike(Some(), "rank 0 (node a)", other, "rank 1 (node b)");
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  return std::string(status.message());
}

TEST(RankAgreement, EqualOnesAgree) {
  EXPECT_TRUE(CheckFits(Some(), "rank 0", Head()).ok());
  EXPECT_TRUE(CheckAlike(Some(), "rank 0", Some(), "rank 1").ok());
}

TEST(RankAgreement, EachDifferenceIsNamedWithBothValues) {
  EXPECT_THAT(DifferenceAfter([](auto& other) { other.checkpoint_hash = 0xABCE; }),
              AllOf(HasSubstr("checkpoint hash: rank 0 (node a) has 000000000000abcd, rank 1 (node "
                              "b) has 000000000000abce"),
                    HasSubstr("copy the checkpoint again")));
  EXPECT_THAT(DifferenceAfter([](auto& other) { other.numerics_hash = 0x1235; }),
              HasSubstr("numerics hash: rank 0 (node a) has 0000000000001234, rank 1 (node b) has "
                        "0000000000001235"));
  EXPECT_THAT(DifferenceAfter([](auto& other) { other.architecture = "x86_64"; }),
              HasSubstr("architecture: rank 0 (node a) has aarch64, rank 1 (node b) has x86_64"));
  EXPECT_THAT(DifferenceAfter([](auto& other) { other.simd_target = "SVE2"; }),
              HasSubstr("vector instructions: rank 0 (node a) has NEON, rank 1 (node b) has SVE2"));
  EXPECT_THAT(DifferenceAfter([](auto& other) { other.nccl_version = ""; }),
              HasSubstr("NCCL version: rank 0 (node a) has 2.29.3, rank 1 (node b) has none"));
}

TEST(RankAgreement, AWorkerThatDoesNotFitItsHeadIsNamedWithBothValues) {
  const auto misfit = [](const std::function<void(WorkerIdentity&)>& change) {
    WorkerIdentity worker = Some();
    change(worker);
    return std::string(CheckFits(worker, "rank 1 (node b)", Head()).message());
  };
  EXPECT_THAT(misfit([](auto& worker) { worker.program_version = "1.2.4"; }),
              HasSubstr("program version: the head has 1.2.3, rank 1 (node b) has 1.2.4"));
  EXPECT_THAT(misfit([](auto& worker) { worker.config_hash = 1; }),
              HasSubstr("configuration hash: the head has 0000000000c0ffee, rank 1 (node b) has "
                        "0000000000000001"));
  EXPECT_THAT(misfit([](auto& worker) { worker.checkpoint_hash = 1; }),
              HasSubstr("checkpoint hash: the head has 000000000000abcd, rank 1 (node b) has "
                        "0000000000000001"));
}

}  // namespace
}  // namespace sparkspan::head::cluster
