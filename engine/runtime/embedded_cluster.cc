#include "engine/runtime/embedded_cluster.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_format.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/base/thread.h"
#include "engine/collective/local_communicator.h"
#include "engine/runtime/epoch_communicator.h"

namespace sparkspan::engine::runtime {
namespace {

constexpr std::int32_t kPlansInFlightMax = 2;
constexpr int kRanksMax = 64;
// A rank with nothing to do looks this often whether its queue was closed.
constexpr Duration kIdleWait = std::chrono::seconds(10);

// A rank's place in a group that lives as long as any rank needs it.
class LocalMember final : public collective::Communicator {
 public:
  LocalMember(std::shared_ptr<collective::LocalGroup> group, int rank)
      : group_(std::move(group)), communicator_(group_->communicator(rank)) {}

  Rank rank() const override { return communicator_.rank(); }
  int size() const override { return communicator_.size(); }
  void BeginStep(collective::ExchangeTag tag) override { communicator_.BeginStep(tag); }
  absl::Status AllReduceSum(std::span<float> io) override { return communicator_.AllReduceSum(io); }
  absl::Status AllGather(std::span<const std::byte> part,
                         std::span<const std::size_t> part_bytes,
                         std::span<std::byte> whole) override {
    return communicator_.AllGather(part, part_bytes, whole);
  }
  void Abort(absl::Status why) override { communicator_.Abort(std::move(why)); }

 private:
  std::shared_ptr<collective::LocalGroup> group_;
  collective::Communicator& communicator_;
};

std::vector<std::unique_ptr<collective::Communicator>> ConnectLocally(int ranks) {
  const auto group = std::make_shared<collective::LocalGroup>(ranks);
  std::vector<std::unique_ptr<collective::Communicator>> members;
  for (int rank = 0; rank < ranks; ++rank) {
    members.push_back(std::make_unique<LocalMember>(group, rank));
  }
  return members;
}

struct BeginEpoch {
  Epoch epoch;
  std::unique_ptr<collective::Communicator> communicator;  // null for a single rank
};

// What a rank says: that it is ready for an epoch (step 0), or a plan's result.
using Report = absl::StatusOr<StepResult>;

}  // namespace

// One rank: its thread owns the executor and does what the queue says, in order.
class EmbeddedCluster::RankThread {
 public:
  RankThread(Rank rank, const EmbeddedClusterOptions& options)
      : rank_(rank),
        options_(options),
        communicator_(rank, options.ranks),
        orders_(kPlansInFlightMax + 1),
        reports_(kPlansInFlightMax + 1),
        thread_("rank-" + std::to_string(rank.value()), [this] { Work(); }) {}

  ~RankThread() {
    Abort(absl::CancelledError("the cluster is being shut down"));
    orders_.Close();
    reports_.Close();
    thread_.Join();
  }

  // False when the queues are full.
  bool Order(StepPlan plan) { return orders_.TryPush(std::move(plan)); }
  bool Order(BeginEpoch begin) { return orders_.TryPush(std::move(begin)); }

  // Takes back orders that the rank has not begun, and forgets what it has reported.
  void Clear() {
    while (orders_.TryPop().has_value()) {
    }
    while (reports_.TryPop().has_value()) {
    }
  }

  std::optional<Report> NextReport(Time deadline) { return reports_.Pop(deadline); }
  void Abort(const absl::Status& why) { communicator_.Abort(why); }
  Executor* executor() { return executor_.get(); }

 private:
  absl::Status Load() {
    collective::Communicator* communicator = options_.ranks == 1 ? nullptr : &communicator_;
    ASSIGN_OR_RETURN(auto model, options_.load(rank_, communicator));
    ASSIGN_OR_RETURN(executor_,
                     Executor::Create(std::move(model), communicator, options_.executor, &clock_));
    return absl::OkStatus();
  }

  Report Obey(BeginEpoch begin) {
    communicator_.Replace(std::move(begin.communicator));
    if (executor_ == nullptr) {
      RETURN_IF_ERROR(Load());
    }
    executor_->Reset(begin.epoch);
    StepResult ready;
    ready.epoch = begin.epoch;
    ready.rank = rank_;
    return ready;
  }

  Report Obey(const StepPlan& plan) { return executor_->Run(plan); }

  void Work() {
    while (!orders_.closed()) {
      auto order = orders_.Pop(clock_.Now() + kIdleWait);
      if (!order.has_value()) {
        continue;
      }
      Report report = std::visit([&](auto& what) { return Obey(std::move(what)); }, *order);
      if (!report.ok()) {
        communicator_.Abort(report.status());
      }
      // Room is certain: an epoch's orders are as many as reports fit, and what is left of an epoch
      // is cleared before orders of the next are given.
      CHECK(reports_.TryPush(std::move(report)) || reports_.closed());
    }
  }

  const Rank rank_;
  const EmbeddedClusterOptions& options_;
  SteadyClock clock_;
  EpochCommunicator communicator_;
  std::unique_ptr<Executor> executor_;  // made by the thread, before its first report
  BoundedQueue<std::variant<BeginEpoch, StepPlan>> orders_;
  BoundedQueue<Report> reports_;
  Thread thread_;
};

EmbeddedCluster::EmbeddedCluster(EmbeddedClusterOptions options)
    : options_(std::move(options)),
      ended_(absl::FailedPreconditionError("no epoch has begun: call Reform")) {
  for (std::int32_t rank = 0; rank < options_.ranks; ++rank) {
    ranks_.push_back(std::make_unique<RankThread>(Rank(rank), options_));
  }
}

EmbeddedCluster::~EmbeddedCluster() {
  // All at once: a rank may be waiting for another's part.
  for (const auto& rank : ranks_) {
    rank->Abort(absl::CancelledError("the cluster is being shut down"));
  }
}

absl::StatusOr<std::unique_ptr<EmbeddedCluster>> EmbeddedCluster::Create(
    EmbeddedClusterOptions options, Time deadline) {
  if (options.ranks < 1 || options.ranks > kRanksMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("ranks is %d: give 1 to %d", options.ranks, kRanksMax));
  }
  const Epoch first = options.epoch;
  std::unique_ptr<EmbeddedCluster> cluster(new EmbeddedCluster(std::move(options)));
  RETURN_IF_ERROR(cluster->BeginEpochOnRanks(first, deadline));
  return cluster;
}

absl::Status EmbeddedCluster::BeginEpochOnRanks(Epoch epoch, Time deadline) {
  std::vector<std::unique_ptr<collective::Communicator>> group(ranks_.size());
  if (ranks_.size() > 1) {
    if (options_.connect) {
      ASSIGN_OR_RETURN(group, options_.connect());
    } else {
      group = ConnectLocally(options_.ranks);
    }
    CHECK_EQ(group.size(), ranks_.size());
  }
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (!ranks_[rank]->Order(BeginEpoch{epoch, std::move(group[rank])})) {
      return Fail(absl::UnavailableError(absl::StrFormat(
          "rank %d is still busy with an earlier epoch: Reform again later", rank)));
    }
  }
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    while (true) {
      std::optional<Report> report = ranks_[rank]->NextReport(deadline);
      if (!report.has_value()) {
        return Fail(absl::UnavailableError(
            absl::StrFormat("rank %d was not ready for epoch %d in time", rank, epoch.value())));
      }
      // Reports of plans of the epoch before come first.
      if (report->ok() && (*report)->epoch == epoch) {
        break;
      }
      if (!report->ok() && ranks_[rank]->executor() == nullptr) {
        return Fail(report->status());
      }
    }
  }
  epoch_ = epoch;
  ended_ = absl::OkStatus();
  return absl::OkStatus();
}

absl::Status EmbeddedCluster::Fail(absl::Status why) {
  ended_ = why;
  plans_in_flight_ = 0;
  collected_.clear();
  for (const auto& rank : ranks_) {
    rank->Abort(why);
    rank->Clear();
  }
  return why;
}

ClusterShape EmbeddedCluster::Shape() const {
  ClusterShape shape = ranks_.front()->executor()->Shape();
  shape.epoch = epoch_;
  shape.memory.clear();
  for (const auto& rank : ranks_) {
    shape.memory.push_back(rank->executor()->Shape().memory.front());
  }
  return shape;
}

absl::Status EmbeddedCluster::Submit(const StepPlan& plan) {
  RETURN_IF_ERROR(ended_);
  if (plans_in_flight_ == kPlansInFlightMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d plans are in flight: collect a result first", plans_in_flight_));
  }
  for (const auto& rank : ranks_) {
    CHECK(rank->Order(plan)) << "orders beyond the plans in flight";
  }
  ++plans_in_flight_;
  return absl::OkStatus();
}

absl::StatusOr<StepResult> EmbeddedCluster::Collect(Time deadline) {
  RETURN_IF_ERROR(ended_);
  if (plans_in_flight_ == 0) {
    return absl::FailedPreconditionError("no plan is in flight: submit one first");
  }
  while (collected_.size() < ranks_.size()) {
    std::optional<Report> report = ranks_[collected_.size()]->NextReport(deadline);
    if (!report.has_value()) {
      return absl::DeadlineExceededError(
          absl::StrFormat("rank %d has no result yet", collected_.size()));
    }
    if (!report->ok()) {
      return Fail(report->status());
    }
    collected_.push_back(**std::move(report));
  }
  absl::StatusOr<StepResult> agreed = AgreeResults(collected_);
  if (!agreed.ok()) {
    return Fail(agreed.status());
  }
  collected_.clear();
  --plans_in_flight_;
  return agreed;
}

absl::Status EmbeddedCluster::Reform(Epoch next, Time deadline) {
  if (next <= epoch_) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "epoch %d does not come after the present one, %d", next.value(), epoch_.value()));
  }
  (void)Fail(absl::CancelledError(
      absl::StrFormat("epoch %d was given up for epoch %d", epoch_.value(), next.value())));
  return BeginEpochOnRanks(next, deadline);
}

Executor& EmbeddedCluster::executor(Rank rank) {
  CHECK_EQ(plans_in_flight_, 0);
  return *ranks_[static_cast<std::size_t>(rank.value())]->executor();
}

}  // namespace sparkspan::engine::runtime
