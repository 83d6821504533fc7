#include "tests/simulation/simulated_cluster.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"

namespace sparkspan::tests {
namespace {

using head::api::FinishReason;
using head::api::GenerationEvent;
using head::cluster::EngineLoop;
using head::cluster::EngineLoopOptions;
using head::cluster::RemoteCluster;
using head::cluster::RemoteClusterOptions;

constexpr std::int64_t kContext = 2000;
constexpr std::chrono::milliseconds kReformPause{200};

}  // namespace

SimulatedCluster::SimulatedCluster(std::uint64_t seed, int ranks)
    : world_(seed), network_(world_), groups_(world_, network_, ranks, times_.silence_limit) {
  for (int rank = 0; rank < ranks; ++rank) {
    workers_.push_back(std::make_unique<SimulatedWorker>(world_, network_, groups_, times_, rank));
    workers_.back()->Start();
  }
  StartHead();
}

void SimulatedCluster::StartHead() {
  head_ = std::make_unique<Head>();
  auto links = std::make_unique<SimulatedLinks>(world_, network_, workers_);
  head_->links = links.get();
  RemoteClusterOptions options;
  for (int rank = 0; rank < ranks(); ++rank) {
    options.workers.push_back({engine::Rank(rank), absl::StrFormat("node%d", rank), {}});
  }
  options.program_version = "simulated";
  options.heartbeat_interval = times_.heartbeat_interval;
  options.silence_limit = times_.silence_limit;
  options.shape.ranks = ranks();
  head_->cluster = std::make_unique<RemoteCluster>(std::move(options), std::move(links));
  EngineLoopOptions loop;
  loop.scheduler.running_max = 4;
  loop.scheduler.waiting_max = 4;
  loop.scheduler.step_rows_max = 512;
  loop.scheduler.context_tokens_max = kContext;
  loop.reform_pause = kReformPause;
  loop.step_timeout = std::chrono::seconds(10);
  loop.form_timeout = std::chrono::seconds(20);
  // As the clock would, which is now and then behind that of the head before.
  newest_epoch_ += 1'000'000;
  const bool is_behind = world_.Chance(0.3);
  loop.first_epoch = engine::Epoch(is_behind ? newest_epoch_ - 1'500'000 : newest_epoch_);
  head_->loop =
      std::make_unique<EngineLoop>(loop, *head_->cluster, world_, EngineLoop::Driver::kOwner);
}

bool SimulatedCluster::is_ready() const {
  return head_ != nullptr && !head_dies_ && world_.Now() >= head_hung_until_ &&
         head_->loop->Status().state == head::api::EngineState::kReady;
}

void SimulatedCluster::KillHead(engine::Duration absence, bool is_silent) {
  if (head_ == nullptr || head_dies_) {
    return;
  }
  // Its kernel ends the connections now; the call that it is in returns without effect, and then
  // the process is no more.
  head_dies_ = true;
  head_->links->Die(is_silent);
  head_->cluster->Stop();
  account_.cut_off += static_cast<std::int64_t>(clients_.size());
  clients_.clear();
  head_returns_ = world_.Now() + absence;
}

void SimulatedCluster::BuryHead() {
  head_->loop.reset();
  head_.reset();
  head_dies_ = false;
  head_hung_until_ = {};
}

bool SimulatedCluster::RunUntil(engine::Time time, const std::function<bool()>& done) {
  while (world_.Now() < time && violation_.empty()) {
    if (done && done()) {
      return true;
    }
    if (head_dies_) {
      BuryHead();
    }
    if (head_ == nullptr) {
      if (world_.Now() >= *head_returns_) {
        StartHead();
      } else {
        world_.Step(std::min(time, *head_returns_));
      }
      continue;
    }
    if (world_.Now() < head_hung_until_) {
      world_.Step(std::min(time, head_hung_until_));
      continue;
    }
    const EngineLoop::Turn turn = head_->loop->TakeTurn();
    ReadAnswers();
    if (turn == EngineLoop::Turn::kEnded && !head_dies_) {
      Violate(absl::StrFormat("the head gave up: %s", head_->loop->failure().message()));
    }
    const engine::Duration pause =
        turn == EngineLoop::Turn::kIdle ? EngineLoop::kIdleTick
        : turn == EngineLoop::Turn::kNoGroup || turn == EngineLoop::Turn::kRefused
            ? engine::Duration(kReformPause)
            : engine::Duration(0);
    const engine::Time until = world_.Now() + pause;
    while (pause.count() > 0 && !head_dies_ && world_.Step(until)) {
    }
  }
  return done && done();
}

void SimulatedCluster::SendRequests(engine::Duration pause) {
  request_pause_ = pause;
  ++request_chain_;
  if (pause.count() == 0) {
    return;
  }
  struct Chain {
    static void Next(SimulatedCluster& cluster, std::uint64_t chain) {
      if (cluster.request_chain_ != chain) {
        return;
      }
      cluster.SendRequest();
      const std::int64_t mean = cluster.request_pause_.count();
      cluster.world_.After(engine::Duration(cluster.world_.Between(mean / 10, 2 * mean)),
                           [&cluster, chain] { Next(cluster, chain); });
    }
  };
  Chain::Next(*this, request_chain_);
}

void SimulatedCluster::SendRequest() {
  // The socket of a hung head takes a request that nobody reads; that client gives up by itself.
  if (head_ == nullptr || head_dies_ || world_.Now() < head_hung_until_) {
    return;
  }
  ++account_.sent;
  Client client;
  for (std::int64_t i = world_.Between(1, 700); i > 0; --i) {
    client.history.push_back(static_cast<engine::Token>(world_.Between(0, 996)));
  }
  client.tokens_left = world_.Between(1, 40);
  client.reads_left = world_.Chance(0.1) ? world_.Between(1, 10) : 1 << 20;
  head::api::GenerationRequest request;
  request.prompt = client.history;
  request.max_tokens = client.tokens_left;
  request.arrival = world_.Now();
  auto stream = head_->loop->Submit(std::move(request));
  if (!stream.ok()) {
    ++account_.refused;
    if (stream.status().message().empty() || absl::IsInvalidArgument(stream.status())) {
      Violate(absl::StrFormat("refused for no good reason: %s", stream.status().ToString()));
    }
    return;
  }
  client.stream = *std::move(stream);
  clients_.push_back(std::move(client));
}

void SimulatedCluster::ReadAnswers() {
  if (!head_dies_) {
    std::erase_if(clients_, [this](Client& client) { return Read(client); });
  }
}

bool SimulatedCluster::Read(Client& client) {
  while (std::optional<GenerationEvent> event = client.stream->Pop(engine::Time::min())) {
    for (const engine::runtime::CommittedToken& token : event->tokens) {
      if (client.tokens_left == 0 || token.token != TokenAfter(client.history)) {
        Violate(absl::StrFormat("a wrong token after %d", client.history.size()));
      }
      client.history.push_back(token.token);
      --client.tokens_left;
    }
    if (event->finish.has_value()) {
      if (event->finish->reason == FinishReason::kError) {
        ++account_.failed;
        if (event->finish->error.message().empty()) {
          Violate("an error without a reason");
        }
      } else {
        ++account_.answered;
        if (client.tokens_left != 0) {
          Violate(absl::StrFormat("an answer ends %d tokens early", client.tokens_left));
        }
      }
      return true;
    }
    if (--client.reads_left <= 0) {
      client.stream->Cancel();
      ++account_.cancelled;
      return true;
    }
  }
  return false;
}

void SimulatedCluster::Violate(std::string what) {
  if (violation_.empty()) {
    violation_ = std::move(what);
  }
}

}  // namespace sparkspan::tests
