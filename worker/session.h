#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include <string>

#include "absl/status/status.h"
#include "engine/base/bounded_queue.h"
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
void WriteFailure(const absl::Status& why, bool is_refusal, SessionStream* stream);

// One head's lease of the rank, from the accepted hello to the end of its stream.
class Session {
 public:
  Session(Lifecycle& lifecycle, engine::Epoch epoch, std::string program_version)
      : lifecycle_(lifecycle),
        program_version_(std::move(program_version)),
        plans_(kPlansQueuedMax) {
    end_.epoch = epoch;
  }

  // Returns when the stream has ended, with the epoch.
  SessionEnd Run(grpc::ServerContext* context, SessionStream* stream);

 private:
  static constexpr std::size_t kPlansQueuedMax = 4;

  void WriteIdentity(SessionStream* stream) const;
  // Reports progress until the weights are there; false when they never will be, or the head left.
  bool WaitForWeights(grpc::ServerContext* context, SessionStream* stream);
  bool FormGroup(const std::string& session_key, SessionStream* stream);
  // The thread that runs plans, and alone writes to the stream while it lives.
  void RunPlans(SessionStream* stream);
  // Reads until the stream ends.
  void ReadPlans(SessionStream* stream);

  Lifecycle& lifecycle_;
  const std::string program_version_;
  engine::BoundedQueue<engine::runtime::StepPlan> plans_;
  SessionEnd end_;
};

}  // namespace sparkspan::worker
