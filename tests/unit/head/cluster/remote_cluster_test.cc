#include "head/cluster/remote_cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sparkspan::head::cluster {
namespace {

using engine::Epoch;
using engine::Rank;
using testing::HasSubstr;

// Streams that bring what the test says, in virtual time.
class ScriptedLinks final : public WorkerLinks {
 public:
  explicit ScriptedLinks(engine::VirtualClock& clock) : clock_(clock) {}

  engine::Time Now() const override { return clock_.Now(); }
  void Open(Rank rank, Epoch) override {
    open_[rank.value()] = true;
    if (const auto what = first_words.find(rank.value()); what != first_words.end()) {
      for (const WorkerMessage& message : what->second) {
        Say(rank, message);
      }
      return;
    }
    Say(rank, WorkerIdentity{});
    Say(rank, Loaded());
  }
  void Close(Rank rank) override {
    open_[rank.value()] = false;
    std::erase_if(events_, [&](const LinkEvent& event) { return event.rank == rank; });
  }
  bool IsOpen(Rank rank) const override {
    return open_.contains(rank.value()) && open_.at(rank.value());
  }
  std::optional<LinkEvent> Next(engine::Time deadline) override {
    if (events_.empty()) {
      clock_.Advance(std::max(engine::Duration(0), deadline - Now()));
      return std::nullopt;
    }
    LinkEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }
  static WorkerLoaded Loaded() {
    WorkerLoaded loaded;
    loaded.kv_blocks = 4;
    return loaded;
  }
  absl::Status SendFormGroup(Rank rank, const std::string&) override {
    if (!answers_form_group) {
      return absl::OkStatus();
    }
    WorkerGroupFormed formed;
    const Rank peer(1 - rank.value());
    formed.peers.push_back({peer, "192.168.177.1:7200", "enp1s0f1np1", "device"});
    Say(rank, formed);
    return absl::OkStatus();
  }
  absl::Status SendPlan(Rank, const engine::runtime::StepPlan&) override {
    return absl::OkStatus();
  }
  absl::Status SendHeartbeat(Rank) override { return absl::OkStatus(); }
  void SendGoodbye(Rank) override {}
  absl::StatusOr<engine::fabric::SocketPath> Path(Rank) const override { return path; }
  LinkTraffic Traffic(Rank rank) const override {
    return {100u + static_cast<std::uint64_t>(rank.value()), 200};
  }

  void Say(Rank rank, WorkerMessage what) { events_.push_back({rank, 0, std::move(what), Now()}); }

  absl::StatusOr<engine::fabric::SocketPath> path = engine::fabric::SocketPath{};
  // By rank: what its stream begins with, in place of identity and loaded.
  std::map<int, std::vector<WorkerMessage>> first_words;
  bool answers_form_group = true;

 private:
  engine::VirtualClock& clock_;
  std::map<int, bool> open_;
  std::deque<LinkEvent> events_;
};

class RemoteClusterTest : public ::testing::Test {
 protected:
  RemoteClusterTest() {
    RemoteClusterOptions options;
    options.workers = {{Rank(0), "spark1", {}}, {Rank(1), "spark2", {}}};
    options.shape.ranks = 2;
    auto links = std::make_unique<ScriptedLinks>(clock_);
    links_ = links.get();
    cluster_ = std::make_unique<RemoteCluster>(options, std::move(links));
    EXPECT_TRUE(cluster_->Reform(Epoch(1), clock_.Now() + std::chrono::seconds(1)).ok());
  }

  static WorkerFabric Fabric(int second, std::uint64_t sent, const std::string& fault = "") {
    WorkerFabric fabric;
    fabric.sampled = engine::Time(std::chrono::seconds(second));
    engine::fabric::PinSample& sample = fabric.interfaces.emplace_back();
    sample.declared = {.pin = {"enp1s0f1np1", {0xC0A8B102}}, .control = false, .data = true};
    sample.counters.sent_bytes = sent;
    sample.fault = fault;
    fabric.peers.push_back({Rank(0), 30, 40});
    return fabric;
  }

  engine::VirtualClock clock_;
  ScriptedLinks* links_;
  std::unique_ptr<RemoteCluster> cluster_;
};

TEST_F(RemoteClusterTest, ShowsWhatInterfacesAndConnectionsCarried) {
  links_->Say(Rank(1), Fabric(10, 1'000));
  links_->Say(Rank(1), Fabric(12, 5'000));
  ASSERT_TRUE(cluster_->Watch().ok());
  const api::RankStatus rank = cluster_->Ranks()[1];
  ASSERT_EQ(rank.interfaces.size(), 1u);
  EXPECT_EQ(rank.interfaces[0].name, "enp1s0f1np1");
  EXPECT_TRUE(rank.interfaces[0].data);
  EXPECT_EQ(rank.interfaces[0].sent_bytes, 5'000u);
  EXPECT_DOUBLE_EQ(rank.interfaces[0].sent_bytes_per_second, 2'000);
  ASSERT_EQ(rank.rails.size(), 2u);
  EXPECT_EQ(rank.rails[0].plane, "control");
  EXPECT_EQ(rank.rails[0].sent_bytes, 101u);
  EXPECT_EQ(rank.rails[1].plane, "data");
  EXPECT_EQ(rank.rails[1].peer, "rank 0");
  EXPECT_EQ(rank.rails[1].binding, "device");
  EXPECT_EQ(rank.rails[1].sent_bytes, 30u);
  EXPECT_EQ(rank.rails[1].received_bytes, 40u);
  EXPECT_TRUE(cluster_->Ranks()[0].interfaces.empty());
}

// Nothing runs: a rank that says so ends the epoch, and a report alone explains it.
TEST_F(RemoteClusterTest, AnIdleHeadHearsOfALostLink) {
  constexpr char kFault[] = "interface enp1s0f1np1 lost its link; check the cable";
  links_->Say(Rank(1), Fabric(10, 0, kFault));
  ASSERT_TRUE(cluster_->Watch().ok());
  EXPECT_EQ(cluster_->Ranks()[1].detail, kFault);
  LinkEnd end;
  end.why = absl::UnavailableError(kFault);
  end.said = true;
  links_->Say(Rank(1), end);
  const absl::Status lost = cluster_->Watch();
  EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
  EXPECT_THAT(std::string(lost.message()), HasSubstr("rank 1 (node spark2"));
  EXPECT_THAT(std::string(lost.message()), HasSubstr(kFault));
  EXPECT_EQ(cluster_->Ranks()[1].state, "failed");
  EXPECT_EQ(cluster_->Ranks()[0].state, "waiting");
}

// What a worker says is believed only where the protocol has a place for it.
TEST_F(RemoteClusterTest, MessagesOutOfPlaceEndTheFormingByName) {
  const std::vector<std::pair<std::vector<WorkerMessage>, const char*>> cases = {
      {{ScriptedLinks::Loaded()}, "that it has loaded"},
      {{WorkerIdentity{}, ScriptedLinks::Loaded(), ScriptedLinks::Loaded()}, "that it has loaded"},
      {{WorkerIdentity{}, WorkerIdentity{}}, "who it is"},
      {{WorkerIdentity{}, WorkerGroupFormed{}}, "that it has formed a group"},
      {{WorkerIdentity{}, engine::runtime::StepResult{}}, "what came of a step"},
  };
  std::uint64_t epoch = 1;
  for (const auto& [words, what] : cases) {
    links_->first_words[1] = words;
    const absl::Status status =
        cluster_->Reform(Epoch(++epoch), clock_.Now() + std::chrono::seconds(1));
    EXPECT_TRUE(absl::IsInternal(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 (node spark2"));
  }
  links_->first_words.clear();
  EXPECT_TRUE(cluster_->Reform(Epoch(++epoch), clock_.Now() + std::chrono::seconds(1)).ok());
}

TEST_F(RemoteClusterTest, ARankThatIsFreeNamesTheEpochToPass) {
  LinkEnd refusal;
  refusal.why = absl::UnavailableError("epoch 2 is over: this worker has served epoch 900");
  refusal.said = true;
  links_->first_words[1] = {refusal};
  // Held by a living head, it names none: this head goes on asking in vain.
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(cluster_->Reform(Epoch(2), clock_.Now() + std::chrono::seconds(1))));
  EXPECT_EQ(cluster_->NewestEpoch(), Epoch(0));
  refusal.newest_epoch = Epoch(900);
  links_->first_words[1] = {refusal};
  EXPECT_TRUE(absl::IsAborted(cluster_->Reform(Epoch(3), clock_.Now() + std::chrono::seconds(1))));
  EXPECT_EQ(cluster_->NewestEpoch(), Epoch(900));
}

TEST_F(RemoteClusterTest, AGroupThatDoesNotFormSaysWhatEachRankWaitsFor) {
  links_->answers_form_group = false;
  absl::Status late = cluster_->Reform(Epoch(2), clock_.Now() + std::chrono::milliseconds(500));
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_THAT(
      std::string(late.message()),
      HasSubstr("rank 1 (node spark2, 0.0.0.0:0) is loaded: waits for its data connections"));
  EXPECT_EQ(cluster_->Ranks()[0].detail, "waits for its data connections");
  links_->first_words[1] = {};
  links_->path = absl::UnavailableError("interface enp1s0f0np0 is not up");
  late = cluster_->Reform(Epoch(3), clock_.Now() + std::chrono::milliseconds(500));
  EXPECT_THAT(std::string(late.message()),
              HasSubstr("is connecting: interface enp1s0f0np0 is not up"));
  EXPECT_THAT(std::string(late.message()), testing::Not(HasSubstr("rank 0")));
}

TEST_F(RemoteClusterTest, ShowsTheMemoryOfEachRanksMachine) {
  WorkerFabric fabric = Fabric(10, 0);
  fabric.memory_available_bytes = 5'000;
  fabric.memory_shortage = "only 5000 bytes";
  links_->Say(Rank(1), fabric);
  ASSERT_TRUE(cluster_->Watch().ok());
  EXPECT_EQ(cluster_->Ranks()[1].memory_available_bytes, 5'000);
  EXPECT_EQ(cluster_->Ranks()[1].memory_shortage, "only 5000 bytes");
}

TEST_F(RemoteClusterTest, ABrokenStreamIsExplainedByTheRelay) {
  links_->path = absl::UnavailableError("interface enp1s0f0np0 lost its link; check the cable");
  LinkEnd end;
  end.why = absl::UnavailableError("the stream broke: Socket closed");
  links_->Say(Rank(1), end);
  const absl::Status lost = cluster_->Watch();
  EXPECT_THAT(std::string(lost.message()),
              HasSubstr("is lost: interface enp1s0f0np0 lost its link"));
  EXPECT_EQ(cluster_->Ranks()[1].detail, links_->path.status().message());
}

TEST_F(RemoteClusterTest, ABrokenStreamOverAHealthyPathKeepsItsOwnReason) {
  LinkEnd end;
  end.why = absl::UnavailableError("the stream broke: Socket closed");
  links_->Say(Rank(1), end);
  EXPECT_THAT(std::string(cluster_->Watch().message()), HasSubstr("Socket closed"));
}

}  // namespace
}  // namespace sparkspan::head::cluster
