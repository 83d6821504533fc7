#include "deploy/cli/bench_exchange.h"

#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <span>

#include "deploy/cli/quantile.h"
#include "engine/base/clock.h"
#include "engine/base/status.h"
#include "engine/collective/local_communicator.h"
#include "engine/collective/tcp_communicator.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::collective::Communicator;
using engine::collective::TcpCommunicator;
using engine::collective::TcpListener;

constexpr int kRanks = 2;
constexpr std::int64_t kSizes[] = {8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10};
constexpr engine::Epoch kEpoch{1};

// One rank's part: medians in microseconds, one for each size.
absl::StatusOr<std::vector<double>> TimeSums(int exchanges, Communicator& communicator) {
  const engine::SteadyClock clock;
  std::vector<double> medians;
  std::uint64_t step = 0;
  for (const std::int64_t size : kSizes) {
    std::vector<float> values(static_cast<std::size_t>(size) / sizeof(float));
    std::vector<double> times;
    const int warmup = exchanges / 10 + 1;
    for (int i = 0; i < warmup + exchanges; ++i) {
      communicator.BeginStep({kEpoch, engine::Step(++step)});
      const engine::Time began = clock.Now();
      RETURN_IF_ERROR(communicator.AllReduceSum(values));
      if (i >= warmup) {
        times.push_back(std::chrono::duration<double, std::micro>(clock.Now() - began).count());
      }
    }
    medians.push_back(Median(std::move(times)));
  }
  return medians;
}

// Both ranks connected over loopback, each told where the other listens.
class LoopbackPair {
 public:
  static absl::StatusOr<std::unique_ptr<LoopbackPair>> Create() {
    auto pair = std::make_unique<LoopbackPair>();
    engine::collective::TcpOptions options;
    options.interface = "lo";
    options.epoch = kEpoch;
    std::random_device random;
    for (std::byte& byte : options.key) {
      byte = static_cast<std::byte>(random());
    }
    for (int rank = 0; rank < kRanks; ++rank) {
      ASSIGN_OR_RETURN(
          TcpListener listener,
          TcpListener::Open({"lo", {0x7F000001}}, 0, engine::fabric::LocalPeers::kNone));
      options.endpoints.push_back(listener.endpoint());
      pair->listeners_.push_back(std::move(listener));
    }
    for (int rank = 0; rank < kRanks; ++rank) {
      options.rank = engine::Rank(rank);
      pair->communicators_.push_back(std::make_unique<TcpCommunicator>(options));
    }
    return pair;
  }

  // Called on the rank's thread.
  absl::StatusOr<Communicator*> Connect(int rank) {
    TcpCommunicator& communicator = *communicators_[static_cast<std::size_t>(rank)];
    RETURN_IF_ERROR(communicator.Connect(listeners_[static_cast<std::size_t>(rank)]));
    return &communicator;
  }

 private:
  std::vector<TcpListener> listeners_;
  std::vector<std::unique_ptr<TcpCommunicator>> communicators_;
};

}  // namespace

absl::StatusOr<std::vector<ExchangeTime>> TimeExchanges(int exchanges) {
  ASSIGN_OR_RETURN(const auto pair, LoopbackPair::Create());
  std::vector<double> tcp;
  std::vector<double> local;
  const auto body = [&](int rank, Communicator* memory) -> absl::Status {
    ASSIGN_OR_RETURN(Communicator * sockets, pair->Connect(rank));
    ASSIGN_OR_RETURN(const std::vector<double> over_tcp, TimeSums(exchanges, *sockets));
    ASSIGN_OR_RETURN(const std::vector<double> in_memory, TimeSums(exchanges, *memory));
    if (rank == 0) {
      tcp = over_tcp;
      local = in_memory;
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(engine::collective::RunRankThreads(kRanks, body));
  std::vector<ExchangeTime> times;
  for (std::size_t i = 0; i < std::size(kSizes); ++i) {
    times.push_back({kSizes[i], tcp[i], local[i]});
  }
  return times;
}

}  // namespace sparkspan::deploy::cli
