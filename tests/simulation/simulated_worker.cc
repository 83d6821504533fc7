#include "tests/simulation/simulated_worker.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/collective/blamed_peer.h"

namespace sparkspan::tests {
namespace {

using engine::runtime::StepPlan;
using head::cluster::LinkEnd;
using head::cluster::LinkEvent;

constexpr std::int32_t kKvBlocks = 24;
constexpr std::int32_t kSequencesMax = 4;
constexpr int kLooksPerLimit = 10;
constexpr std::size_t kPlansQueuedMax = 4;

}  // namespace

SimulatedWorker::SimulatedWorker(World& world,
                                 SimulatedNetwork& network,
                                 SimulatedGroups& groups,
                                 const SimulationTimes& times,
                                 int rank)
    : world_(world),
      network_(network),
      groups_(groups),
      times_(times),
      rank_(rank),
      executor_(engine::Rank(rank), kKvBlocks, kSequencesMax) {}

void SimulatedWorker::Start() {
  if (is_up_) {
    return;
  }
  groups_.Leave(rank_);  // A machine that came back resets what it finds open.
  is_up_ = true;
  is_hung_ = false;
  loaded_at_ = world_.Now() + times_.load;
  newest_epoch_ = formed_epoch_ = engine::Epoch(0);
  ++loads_;
  ++life_;
}

void SimulatedWorker::Kill() {
  if (!is_up_) {
    return;
  }
  EndSession(/*closes_stream=*/true);
  is_up_ = false;
  while_hung_.clear();
}

void SimulatedWorker::PowerOff() {
  if (!is_up_) {
    return;
  }
  groups_.Vanish(rank_);
  lease_.reset();
  has_group_ = false;
  silence_.reset();
  plans_.clear();
  while_hung_.clear();
  is_up_ = false;
  ++life_;
}

void SimulatedWorker::Hang() {
  is_hung_ = is_up_;
}

void SimulatedWorker::Resume() {
  if (!std::exchange(is_hung_, false)) {
    return;
  }
  while (!while_hung_.empty() && !is_hung_) {
    std::function<void()> next = std::move(while_hung_.front());
    while_hung_.pop_front();
    next();
  }
}

void SimulatedWorker::Later(engine::Duration delay, std::function<void()> action) {
  world_.After(delay, [this, life = life_, action = std::move(action)]() mutable {
    std::function<void()> guarded = [this, life, action = std::move(action)] {
      if (is_up_ && life_ == life) {
        action();
      }
    };
    if (is_hung_) {
      while_hung_.push_back(std::move(guarded));
    } else {
      guarded();
    }
  });
}

void SimulatedWorker::Arrive(const Stream& stream, SimulatedOrder order) {
  if (!is_up_) {
    return;
  }
  if (is_hung_) {
    while_hung_.push_back(
        [this, stream, order = std::move(order)]() mutable { Arrive(stream, std::move(order)); });
    return;
  }
  std::visit([&](const auto& what) { Take(stream, what); }, order);
}

template <typename What>
void SimulatedWorker::Say(const Stream& stream, What what) {
  network_.Send(stream->to_head, [stream, what = std::move(what), this] {
    if (stream->head != nullptr) {
      stream->head(LinkEvent{engine::Rank(stream->rank), 0, what, world_.Now()});
    }
  });
}

void SimulatedWorker::SayFailure(const Stream& stream,
                                 const absl::Status& why,
                                 std::optional<engine::Epoch> newest_epoch) {
  LinkEnd end;
  end.why = absl::UnavailableError(why.message());
  end.said = true;
  end.blamed = engine::collective::BlamedPeer(why);
  end.newest_epoch = newest_epoch;
  Say(stream, end);
}

void SimulatedWorker::Take(const Stream& stream, const SimulatedHello&) {
  if (stream->epoch < newest_epoch_ || stream->epoch <= formed_epoch_) {
    std::optional<engine::Epoch> newest;
    if (lease_ == nullptr) {
      newest = std::max(newest_epoch_, formed_epoch_);
    }
    SayFailure(stream, absl::AbortedError("this epoch is over"), newest);
    return;
  }
  EndSession(/*closes_stream=*/true);
  newest_epoch_ = stream->epoch;
  lease_ = stream;
  has_failed_ = false;
  silence_.emplace(1, times_.silence_limit);
  silence_->Hear(0, world_.Now());
  head::cluster::WorkerIdentity identity;
  identity.program_version = "simulated";
  Say(stream, identity);
  Pulse();
  Later(std::max(engine::Duration(0), loaded_at_ - world_.Now()), [this] { SayLoaded(); });
}

void SimulatedWorker::SayLoaded() {
  head::cluster::WorkerLoaded loaded;
  loaded.kv_blocks = kKvBlocks;
  Say(lease_, loaded);
}

void SimulatedWorker::Pulse() {
  if (!silence_->Silent(world_.Now()).empty()) {
    EndSession(/*closes_stream=*/true);
    return;
  }
  // A pulse with every look: only what a head can make of fewer is of interest, and cuts give it
  // that.
  Say(lease_, head::cluster::WorkerPulse{position_});
  Later(std::min(times_.heartbeat_interval, times_.silence_limit / kLooksPerLimit),
        [this] { Pulse(); });
}

void SimulatedWorker::Take(const Stream& stream, const SimulatedHeartbeat&) {
  if (stream == lease_) {
    silence_->Hear(0, world_.Now());
  }
}

void SimulatedWorker::Take(const Stream& stream, const SimulatedFormGroup& order) {
  if (stream != lease_) {
    return;
  }
  silence_->Hear(0, world_.Now());
  formed_epoch_ = stream->epoch;
  has_group_ = true;
  groups_.Join(rank_, order.key, [this, life = life_](const absl::Status&) {
    Later(engine::Duration(0), [this, life] {
      if (life_ == life && has_group_) {
        executor_.Reset(formed_epoch_);
        position_ = {};
        Say(lease_, head::cluster::WorkerGroupFormed());
      }
    });
  });
}

void SimulatedWorker::Take(const Stream& stream, const StepPlan& plan) {
  if (stream != lease_ || has_failed_) {
    return;
  }
  silence_->Hear(0, world_.Now());
  plans_.push_back(plan);
  if (plans_.size() > kPlansQueuedMax) {
    EndSession(/*closes_stream=*/true);
  } else if (plans_.size() == 1) {
    RunNextPlan();
  }
}

void SimulatedWorker::RunNextPlan() {
  position_.begun = plans_.front().step;
  position_.exchanges = 0;
  Later(std::chrono::milliseconds(world_.Between(5, 20) * slow_), [this] {
    position_.exchanges = 1;
    position_.exchanging = true;
    groups_.Exchange(
        rank_, plans_.front().step.value(), [this, life = life_](const absl::Status& exchanged) {
          Later(engine::Duration(0), [this, life, exchanged] {
            if (life_ == life) {
              FinishPlan(exchanged);
            }
          });
        });
  });
}

void SimulatedWorker::FinishPlan(const absl::Status& exchanged) {
  position_.exchanging = false;
  absl::StatusOr<engine::runtime::StepResult> result =
      exchanged.ok() ? executor_.Run(plans_.front()) : exchanged;
  if (!result.ok()) {
    has_failed_ = true;
    has_group_ = false;
    groups_.Leave(rank_);
    SayFailure(lease_, result.status());
    return;
  }
  position_.finished = position_.begun;
  plans_.pop_front();
  Say(lease_, *std::move(result));
  if (!plans_.empty()) {
    RunNextPlan();
  }
}

void SimulatedWorker::Take(const Stream& stream, const SimulatedClose&) {
  if (stream == lease_) {
    EndSession(/*closes_stream=*/false);
  }
}

void SimulatedWorker::EndSession(bool closes_stream) {
  if (lease_ == nullptr) {
    return;
  }
  groups_.Leave(rank_);
  if (closes_stream) {
    LinkEnd end;
    end.why = absl::UnavailableError("the stream broke");
    Say(lease_, end);
  }
  lease_.reset();
  has_group_ = false;
  silence_.reset();
  plans_.clear();
  position_ = {};
  executor_.Reset(engine::Epoch(0));
  ++life_;
}

}  // namespace sparkspan::tests
