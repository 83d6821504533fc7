#include "tests/simulation/simulated_network.h"

#include <algorithm>
#include <chrono>

namespace sparkspan::tests {

engine::Duration SimulatedNetwork::Latency(int rank) {
  return std::chrono::microseconds(world_.Between(50, 500)) + delays_[rank];
}

std::shared_ptr<Pipe> SimulatedNetwork::MakePipe(int rank) {
  auto pipe = std::make_shared<Pipe>();
  pipe->rank = rank;
  std::erase_if(pipes_, [](const std::weak_ptr<Pipe>& one) { return one.expired(); });
  pipes_.push_back(pipe);
  return pipe;
}

void SimulatedNetwork::Send(const std::shared_ptr<Pipe>& pipe, std::function<void()> arrive) {
  pipe->last = std::max(pipe->last, world_.Now() + Latency(pipe->rank));
  world_.At(pipe->last, [this, pipe, arrive = std::move(arrive)]() mutable {
    Arrive(pipe, std::move(arrive));
  });
}

void SimulatedNetwork::Arrive(const std::shared_ptr<Pipe>& pipe, std::function<void()> arrive) {
  if (IsControlCut(pipe->rank) || !pipe->held.empty()) {
    pipe->held.push_back(std::move(arrive));
  } else {
    arrive();
  }
}

void SimulatedNetwork::HealControl(int rank) {
  if (--control_cuts_[rank] > 0) {
    return;
  }
  for (const std::weak_ptr<Pipe>& weak : pipes_) {
    const std::shared_ptr<Pipe> pipe = weak.lock();
    if (pipe == nullptr || pipe->rank != rank) {
      continue;
    }
    for (std::function<void()>& arrive : std::exchange(pipe->held, {})) {
      Send(pipe, std::move(arrive));
    }
  }
}

void SimulatedNetwork::HealData(int a, int b) {
  if (--data_cuts_[Pair(a, b)] == 0 && on_data_healed) {
    on_data_healed();
  }
}

}  // namespace sparkspan::tests
