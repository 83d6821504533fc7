#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/runtime/plan.h"
#include "proto/sparkspan/v1/worker.grpc.pb.h"
#include "worker/lifecycle.h"

namespace sparkspan::worker {

using SessionStream = grpc::ServerReaderWriter<v1::WorkerMessage, v1::HeadMessage>;

struct SessionEnd {
  engine::Epoch epoch;
  bool formed = false;  // the epoch had a group
};

// The last message of a stream.
v1::WorkerMessage FailureMessage(const absl::Status& why, bool is_refusal);

struct SessionOptions {
  engine::Epoch epoch;
  std::string program_version;
  engine::Duration heartbeat_interval;  // between this side's signs of life
  engine::Duration silence_limit;       // after which a head that gives none is gone
};

// One head's lease of the rank, from the accepted hello to the end of its stream. The caller's
// thread reads; one thread loads, forms the group and runs plans, in the head's order; a third
// gives signs of life and watches for the head's, whatever the other two are waiting for.
class Session {
 public:
  // All are borrowed.
  Session(Lifecycle& lifecycle,
          SessionOptions options,
          grpc::ServerContext& context,
          SessionStream& stream)
      : lifecycle_(lifecycle),
        options_(std::move(options)),
        context_(context),
        stream_(stream),
        orders_(kOrdersQueuedMax) {
    end_.epoch = options_.epoch;
  }

  // Returns when the stream has ended, with the epoch.
  SessionEnd Run();

 private:
  static constexpr std::size_t kOrdersQueuedMax = 4;

  struct FormGroupOrder {
    std::string session_key;
  };
  // Not the head's: an interface of this rank is no longer as declared, or memory is exhausted.
  struct FaultOrder {
    std::string fault;
  };
  using Order = std::variant<FormGroupOrder, FaultOrder, engine::runtime::StepPlan>;

  // False once the stream has ended. Thread-safe.
  bool Write(const v1::WorkerMessage& message);
  void WriteIdentity();
  void WriteFailure(const absl::Status& why, bool is_refusal);

  // The executor's thread: everything that takes time, in order.
  void Work();
  // Reports progress until the weights are there; false when they never will be, or the head left.
  bool WaitForWeights();
  bool Obey(const FormGroupOrder& order);
  bool Obey(const FaultOrder& order);
  bool Obey(const engine::runtime::StepPlan& plan);

  // The pulse's thread.
  void Pulse();
  v1::WorkerMessage PulseMessage() const;
  v1::WorkerMessage FabricMessage() const;
  // Not while another message is on its way: that one is a sign of life itself, and when a stopped
  // head takes none, somebody must go on watching.
  bool WriteUnlessBusy(const v1::WorkerMessage& message);
  // Tells of this rank's interfaces and its memory when it is time to, and of a fault at once:
  // nobody else would as long as the group has nothing to do.
  void ReportFabric(engine::Time now);
  // What must end the present epoch; empty when nothing.
  std::string EpochFault() const;

  // Until the stream ends; why.
  absl::Status Read();
  absl::StatusOr<Order> OrderOf(v1::HeadMessage message) const;
  void Finish(const absl::Status& why);

  Lifecycle& lifecycle_;
  const SessionOptions options_;
  grpc::ServerContext& context_;
  SessionStream& stream_;
  engine::BoundedQueue<Order> orders_;
  std::mutex write_mutex_;
  std::atomic<bool> over_{false};
  std::atomic<engine::Time> heard_{engine::Time()};  // when the head last gave a sign of life
  std::mutex pulse_mutex_;
  std::condition_variable pulse_changed_;  // over_ was set
  std::atomic<bool> in_group_{false};
  // How often an interface had been lost when the group began to form: a loss of before does not
  // keep those ranks apart that now meet, as those of one machine do without a cable.
  std::atomic<std::uint64_t> losses_before_group_{0};
  SessionEnd end_;  // of the executor's thread while it lives

  // Of the pulse's thread.
  engine::Time fabric_at_;               // when the next report is due
  std::uint64_t interface_changes_ = 0;  // told of
  bool memory_was_short_ = false;        // likewise
  bool fault_ordered_ = false;
};

}  // namespace sparkspan::worker
