#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "tests/simulation/simulated_cluster.h"

// Thousands of faults in virtual time. Every failure names its seed: the same one gives the same
// run. SPARKSPAN_SIMULATION_SEED runs one alone.
namespace sparkspan::tests {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr int kRanks = 3;
// The limit of silence, a beat, and the looks of both sides.
constexpr milliseconds kDetectionMax{1000 + 200 + 150};
// From a rank's return: connecting again, loading and forming.
constexpr milliseconds kRecoveryMax{5000};
constexpr int kFaultsPerSeed = 50;

double Milliseconds(engine::Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

std::string Quantiles(std::vector<engine::Duration> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double q) {
    return Milliseconds(
        values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))]);
  };
  return absl::StrFormat("p50 %.0f ms, p90 %.0f ms, p99 %.0f ms, max %.0f ms of %d",
                         at(0.5),
                         at(0.9),
                         at(0.99),
                         at(1.0),
                         values.size());
}

class ClusterSimulation : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { engine::SetMinLogSeverity(engine::LogSeverity::kFatal); }

  // What a cluster in which nothing is wrong any more must come to.
  static void ExpectQuiet(SimulatedCluster& cluster, std::uint64_t seed) {
    ASSERT_TRUE(cluster.RunFor(seconds(60), [&] { return cluster.is_ready(); }))
        << "seed " << seed << ": no service: " << cluster.Status().detail;
    // A last load of requests, which nothing disturbs, is answered to the last.
    const RequestAccount before = cluster.account();
    cluster.SendRequests(milliseconds(400));
    cluster.RunFor(seconds(4));
    cluster.SendRequests(milliseconds(0));
    ASSERT_TRUE(cluster.RunFor(seconds(60), [&] { return cluster.open_requests() == 0; }))
        << "seed " << seed << ": " << cluster.open_requests() << " requests never ended";
    cluster.RunFor(seconds(1));
    ASSERT_EQ(cluster.violation(), "") << "seed " << seed;
    const RequestAccount after = cluster.account();
    EXPECT_GT(after.answered, before.answered) << "seed " << seed;
    EXPECT_EQ(after.failed, before.failed) << "seed " << seed;
    EXPECT_EQ(after.sent,
              after.answered + after.refused + after.failed + after.cancelled + after.cut_off)
        << "seed " << seed << ": a request without an end";
    const head::api::EngineStatus status = cluster.Status();
    EXPECT_EQ(status.running, 0) << "seed " << seed;
    EXPECT_EQ(status.waiting, 0) << "seed " << seed;
    EXPECT_EQ(status.kv_blocks_used, 0) << "seed " << seed;
    for (int rank = 0; rank < kRanks; ++rank) {
      EXPECT_TRUE(cluster.worker(rank).has_lease()) << "seed " << seed;
      EXPECT_EQ(cluster.worker(rank).open_sequences(), 0u) << "seed " << seed;
    }
  }

  static std::vector<std::uint64_t> Seeds(std::uint64_t first, std::uint64_t count) {
    if (const char* one = std::getenv("SPARKSPAN_SIMULATION_SEED")) {
      return {std::stoull(one)};
    }
    std::vector<std::uint64_t> seeds;
    for (std::uint64_t i = 0; i < count; ++i) {
      seeds.push_back(first + i);
    }
    return seeds;
  }
};

// One thing at a time that can happen to a running cluster.
void Strike(SimulatedCluster& cluster) {
  World& world = cluster.world();
  const int rank = static_cast<int>(world.Between(0, kRanks - 1));
  const int peer = (rank + 1) % kRanks;
  switch (world.Between(0, 11)) {
    case 0:
    case 1:
      cluster.worker(rank).Kill();
      world.After(world.Milliseconds(100, 3000),
                  [&cluster, rank] { cluster.worker(rank).Start(); });
      break;
    case 2:
      cluster.worker(rank).PowerOff();
      world.After(world.Milliseconds(2000, 6000),
                  [&cluster, rank] { cluster.worker(rank).Start(); });
      break;
    case 3:
    case 4:
      cluster.worker(rank).Hang();
      world.After(world.Milliseconds(50, 5000),
                  [&cluster, rank] { cluster.worker(rank).Resume(); });
      break;
    case 5:
      cluster.network().CutControl(rank);
      world.After(world.Milliseconds(100, 4000),
                  [&cluster, rank] { cluster.network().HealControl(rank); });
      break;
    case 6:
      cluster.network().CutData(rank, peer);
      world.After(world.Milliseconds(100, 4000),
                  [&cluster, rank, peer] { cluster.network().HealData(rank, peer); });
      break;
    case 7:
      cluster.network().SetDelay(rank, world.Milliseconds(1, 600));
      world.After(world.Milliseconds(100, 3000),
                  [&cluster, rank] { cluster.network().SetDelay(rank, engine::Duration(0)); });
      break;
    case 8:
      cluster.worker(rank).CorruptNextToken(true);
      world.After(seconds(1), [&cluster, rank] { cluster.worker(rank).CorruptNextToken(false); });
      break;
    case 9:
      cluster.worker(rank).SetSlow(static_cast<int>(world.Between(5, 100)));
      world.After(world.Milliseconds(500, 4000),
                  [&cluster, rank] { cluster.worker(rank).SetSlow(1); });
      break;
    case 10:
      cluster.HangHead(world.Milliseconds(50, 4000));
      break;
    default:
      cluster.KillHead(world.Milliseconds(100, 3000), world.Chance(0.3));
      break;
  }
}

TEST_F(ClusterSimulation, EveryRequestEndsRightOrWithAnErrorThroughTenThousandFaults) {
  RequestAccount total;
  std::int64_t faults = 0;
  for (const std::uint64_t seed : Seeds(1, 200)) {
    SimulatedCluster cluster(seed, kRanks);
    cluster.SendRequests(milliseconds(500));
    World& world = cluster.world();
    for (int fault = 0; fault < kFaultsPerSeed && cluster.violation().empty(); ++fault) {
      // Often while the fault before still lasts, sometimes long after.
      cluster.RunFor(world.Chance(0.3) ? world.Milliseconds(2000, 6000)
                                       : world.Milliseconds(0, 1500));
      // In the middle of whatever the head is waiting for.
      world.After(world.Milliseconds(0, 300), [&cluster] { Strike(cluster); });
      cluster.RunFor(milliseconds(300));
      ++faults;
    }
    ASSERT_EQ(cluster.violation(), "") << "seed " << seed;
    cluster.SendRequests(milliseconds(0));
    cluster.RunFor(seconds(10));  // The last faults end.
    ExpectQuiet(cluster, seed);
    if (HasFailure()) {
      return;
    }
    const RequestAccount& account = cluster.account();
    total.sent += account.sent;
    total.answered += account.answered;
    total.refused += account.refused;
    total.failed += account.failed;
    total.cancelled += account.cancelled;
    total.cut_off += account.cut_off;
  }
  std::cerr << absl::StrFormat(
      "%d faults, %d requests: %d answered in full, %d refused, %d ended with an error, %d left, "
      "%d "
      "lost with their head\n",
      faults,
      total.sent,
      total.answered,
      total.refused,
      total.failed,
      total.cancelled,
      total.cut_off);
  EXPECT_GT(total.answered, total.sent / 4) << "the faults leave too little to judge";
  EXPECT_GT(total.failed, 0);
}

struct Loss {
  std::string name;
  std::function<void(SimulatedWorker&)> strike;
  std::function<void(SimulatedWorker&)> undo;
  engine::Duration detection_max;
};

// A rank is lost while requests run, or while nothing does: it alone is named, in time, its
// neighbours keep their weights, and service is back soon after it is.
TEST_F(ClusterSimulation, ALostRankIsNamedInTimeAndServiceComesBack) {
  const auto start = [](SimulatedWorker& worker) { worker.Start(); };
  const std::vector<Loss> losses = {
      {"killed", [](SimulatedWorker& worker) { worker.Kill(); }, start, milliseconds(60)},
      {"powered off", [](SimulatedWorker& worker) { worker.PowerOff(); }, start, kDetectionMax},
      {"hung",
       [](SimulatedWorker& worker) { worker.Hang(); },
       [](SimulatedWorker& worker) { worker.Resume(); },
       kDetectionMax}};
  for (const Loss& loss : losses) {
    std::vector<engine::Duration> detection;
    std::vector<engine::Duration> recovery;
    for (const std::uint64_t seed : Seeds(1000, 100)) {
      SimulatedCluster cluster(seed, kRanks);
      World& world = cluster.world();
      ASSERT_TRUE(cluster.RunFor(seconds(10), [&] { return cluster.is_ready(); }));
      cluster.SendRequests(seed % 3 == 0 ? milliseconds(0) : milliseconds(200));
      cluster.RunFor(world.Milliseconds(500, 2500));
      const int victim = static_cast<int>(world.Between(0, kRanks - 1));
      engine::Time struck;
      world.After(world.Milliseconds(0, 200), [&] {
        struck = world.Now();
        loss.strike(cluster.worker(victim));
      });
      ASSERT_TRUE(cluster.RunFor(seconds(5), [&] { return !cluster.is_ready(); }))
          << loss.name << ", seed " << seed << ": not noticed";
      detection.push_back(world.Now() - struck);
      EXPECT_LE(detection.back(), loss.detection_max) << loss.name << ", seed " << seed;
      for (const head::api::RankStatus& rank : cluster.Ranks()) {
        EXPECT_EQ(rank.state == "lost", rank.rank == victim)
            << loss.name << ", seed " << seed << ": rank " << rank.rank << " is " << rank.state;
      }
      EXPECT_THAT(cluster.Status().detail, HasSubstr(absl::StrFormat("rank %d", victim)));
      cluster.RunFor(world.Milliseconds(0, 4000));
      EXPECT_FALSE(cluster.is_ready());
      loss.undo(cluster.worker(victim));
      const engine::Time returned = world.Now();
      ASSERT_TRUE(cluster.RunFor(seconds(30), [&] { return cluster.is_ready(); }))
          << loss.name << ", seed " << seed << ": no service: " << cluster.Status().detail;
      recovery.push_back(world.Now() - returned);
      EXPECT_LE(recovery.back(), kRecoveryMax) << loss.name << ", seed " << seed;
      for (int rank = 0; rank < kRanks; ++rank) {
        const bool was_restarted = rank == victim && loss.name != "hung";
        EXPECT_EQ(cluster.worker(rank).loads(), was_restarted ? 2 : 1) << "weights are kept";
      }
      ASSERT_EQ(cluster.violation(), "") << loss.name << ", seed " << seed;
    }
    if (!detection.empty() && !recovery.empty()) {
      std::cerr << loss.name << ": noticed after " << Quantiles(detection)
                << "; service back after " << Quantiles(recovery) << "\n";
    }
  }
}

// A hang, a delay or a cut that ends before the limit costs nothing but its time.
TEST_F(ClusterSimulation, WhatEndsBeforeTheLimitIsNoLoss) {
  for (const std::uint64_t seed : Seeds(2000, 50)) {
    SimulatedCluster cluster(seed, kRanks);
    World& world = cluster.world();
    ASSERT_TRUE(cluster.RunFor(seconds(10), [&] { return cluster.is_ready(); }));
    cluster.SendRequests(milliseconds(300));
    for (int fault = 0; fault < 10; ++fault) {
      const int rank = static_cast<int>(world.Between(0, kRanks - 1));
      switch (world.Between(0, 2)) {
        case 0:
          cluster.worker(rank).Hang();
          world.After(world.Milliseconds(1, 700),
                      [&cluster, rank] { cluster.worker(rank).Resume(); });
          break;
        case 1:
          cluster.network().CutControl(rank);
          world.After(world.Milliseconds(1, 700),
                      [&cluster, rank] { cluster.network().HealControl(rank); });
          break;
        default:
          cluster.network().CutData(rank, (rank + 1) % kRanks);
          world.After(world.Milliseconds(1, 900),
                      [&cluster, rank] { cluster.network().HealData(rank, (rank + 1) % kRanks); });
          break;
      }
      cluster.RunFor(seconds(2));
    }
    EXPECT_EQ(cluster.account().failed, 0) << "seed " << seed;
    EXPECT_TRUE(cluster.is_ready()) << "seed " << seed;
    cluster.SendRequests(milliseconds(0));
    ExpectQuiet(cluster, seed);
  }
}

// The workers of a head that is gone wait with their weights, and the next one adopts them.
TEST_F(ClusterSimulation, ARestartedHeadAdoptsTheWorkers) {
  for (const std::uint64_t seed : Seeds(3000, 50)) {
    SimulatedCluster cluster(seed, kRanks);
    World& world = cluster.world();
    ASSERT_TRUE(cluster.RunFor(seconds(10), [&] { return cluster.is_ready(); }));
    cluster.SendRequests(milliseconds(200));
    cluster.RunFor(world.Milliseconds(100, 2000));
    const bool is_silent = seed % 2 == 0;
    const engine::Duration absence = world.Milliseconds(100, 4000);
    world.After(world.Milliseconds(0, 100), [&] { cluster.KillHead(absence, is_silent); });
    cluster.RunFor(milliseconds(150));
    const engine::Time gone = world.Now();
    if (absence > kDetectionMax + milliseconds(200)) {
      cluster.RunFor(kDetectionMax - milliseconds(100));
      for (int rank = 0; rank < kRanks; ++rank) {
        EXPECT_FALSE(cluster.worker(rank).has_lease()) << "seed " << seed << ", rank " << rank;
      }
    }
    ASSERT_TRUE(cluster.RunUntil(gone + absence + kRecoveryMax, [&] { return cluster.is_ready(); }))
        << "seed " << seed;
    for (int rank = 0; rank < kRanks; ++rank) {
      EXPECT_EQ(cluster.worker(rank).loads(), 1) << "seed " << seed;
    }
    cluster.SendRequests(milliseconds(0));
    ExpectQuiet(cluster, seed);
  }
}

}  // namespace
}  // namespace sparkspan::tests
