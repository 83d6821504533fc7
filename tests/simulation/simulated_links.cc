#include "tests/simulation/simulated_links.h"

#include <chrono>
#include <utility>

#include "engine/base/log.h"

namespace sparkspan::tests {
namespace {

using head::cluster::LinkEnd;
using head::cluster::LinkEvent;

constexpr std::chrono::seconds kConnectTimeout{2};

LinkEnd Broken(const char* why) {
  LinkEnd end;
  end.why = absl::UnavailableError(why);
  return end;
}

}  // namespace

SimulatedLinks::~SimulatedLinks() {
  Die(/*is_silent=*/false);
}

void SimulatedLinks::Open(engine::Rank rank, engine::Epoch epoch) {
  CHECK(At(rank) == nullptr);
  if (is_dead_) {
    return;
  }
  auto stream = std::make_shared<SimulatedStream>();
  stream->rank = rank.value();
  stream->epoch = epoch;
  stream->to_worker = network_.MakePipe(rank.value());
  stream->to_head = network_.MakePipe(rank.value());
  stream->head = [this, weak = std::weak_ptr(stream)](LinkEvent event) {
    const Stream open = weak.lock();
    if (open == nullptr || open->is_ended) {
      return;
    }
    open->is_ended = std::holds_alternative<LinkEnd>(event.what);
    events_.push_back(std::move(event));
  };
  At(rank) = stream;
  Deliver(stream, SimulatedHello{});
  FailUnlessReached(stream);
}

// A process that is not there refuses at once where there is a path to its machine; else the
// attempt ends at its own deadline.
void SimulatedLinks::FailUnlessReached(const Stream& stream) {
  const auto heard = std::make_shared<bool>(false);
  // What follows may come after this head: it refers to the world alone.
  const auto fail = [world = &world_, weak = std::weak_ptr(stream)](const char* why) {
    if (const Stream open = weak.lock(); open != nullptr && open->head != nullptr) {
      open->head(LinkEvent{engine::Rank(open->rank), 0, Broken(why), world->Now()});
    }
  };
  const auto forward = std::exchange(stream->head, nullptr);
  stream->head = [heard, forward](LinkEvent event) {
    *heard = true;
    forward(std::move(event));
  };
  world_.After(std::chrono::milliseconds(2),
               [network = &network_,
                worker = workers_[static_cast<std::size_t>(stream->rank)].get(),
                rank = stream->rank,
                fail] {
                 if (!network->IsControlCut(rank) && !worker->is_up()) {
                   fail("connection refused");
                 }
               });
  world_.After(kConnectTimeout, [heard, fail] {
    if (!*heard) {
      fail("no connection could be made");
    }
  });
}

void SimulatedLinks::Deliver(const Stream& stream, SimulatedOrder order) {
  SimulatedWorker* worker = workers_[static_cast<std::size_t>(stream->rank)].get();
  network_.Send(stream->to_worker, [worker, stream, order = std::move(order)]() mutable {
    worker->Arrive(stream, std::move(order));
  });
}

void SimulatedLinks::Close(engine::Rank rank) {
  const Stream stream = std::exchange(At(rank), nullptr);
  if (stream == nullptr) {
    return;
  }
  stream->head = nullptr;
  Deliver(stream, SimulatedClose{});
  std::erase_if(events_, [&](const LinkEvent& event) { return event.rank == rank; });
}

std::optional<LinkEvent> SimulatedLinks::Next(engine::Time deadline) {
  while (events_.empty() && world_.Step(deadline)) {
  }
  if (events_.empty()) {
    return std::nullopt;
  }
  LinkEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

absl::Status SimulatedLinks::Send(engine::Rank rank, SimulatedOrder order) {
  if (At(rank) == nullptr || At(rank)->is_ended) {
    return absl::UnavailableError("the stream has ended");
  }
  Deliver(At(rank), std::move(order));
  return absl::OkStatus();
}

absl::Status SimulatedLinks::SendFormGroup(engine::Rank rank, const std::string& session_key) {
  return Send(rank, SimulatedFormGroup{session_key});
}

absl::Status SimulatedLinks::SendPlan(engine::Rank rank, const engine::runtime::StepPlan& plan) {
  return Send(rank, plan);
}

absl::Status SimulatedLinks::SendHeartbeat(engine::Rank rank) {
  return Send(rank, SimulatedHeartbeat{});
}

void SimulatedLinks::Die(bool is_silent) {
  is_dead_ = true;
  events_.clear();
  for (std::size_t rank = 0; rank < streams_.size(); ++rank) {
    if (is_silent && streams_[rank] != nullptr) {
      streams_[rank]->head = nullptr;
      streams_[rank].reset();
    }
    Close(engine::Rank(static_cast<std::int32_t>(rank)));
  }
}

}  // namespace sparkspan::tests
