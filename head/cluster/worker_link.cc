#include "head/cluster/worker_link.h"

#include <grpc/support/time.h>
#include <grpcpp/channel.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/runtime/plan_codec.h"
#include "head/cluster/worker_channel.h"
#include "head/cluster/worker_message.h"
#include "proto/sparkspan/v1/worker.grpc.pb.h"

namespace sparkspan::head::cluster {
namespace {

constexpr std::chrono::milliseconds kConnectSlice{50};
// The engine loop pops events at least every step, or every 100 ms when idle.
constexpr std::chrono::seconds kPushTimeout{30};
constexpr std::chrono::milliseconds kPushSlice{100};

using WallTime = std::chrono::system_clock::time_point;

}  // namespace

class WorkerLink::Stream {
 public:
  explicit Stream(LinkOptions options)
      : options_(std::move(options)),
        thread_(absl::StrFormat("link-%d", options_.rank.value()), [this] { Run(); }) {}

  ~Stream() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    context_.TryCancel();
    thread_.Join();
  }

  absl::Status Write(const v1::HeadMessage& message) {
    const std::lock_guard lock(mutex_);
    if (stream_ == nullptr || !stream_->Write(message)) {
      return absl::UnavailableError(
          absl::StrFormat("rank %d: its stream has ended", options_.rank.value()));
    }
    return absl::OkStatus();
  }

 private:
  void Run() { Push(Serve()); }

  static LinkEnd Broke(std::string why) {
    LinkEnd end;
    end.why = absl::UnavailableError(std::move(why));
    return end;
  }

  LinkEnd Serve() {
    const std::shared_ptr<grpc::Channel> channel =
        MakeWorkerChannel(options_.target,
                          options_.tls,
                          options_.worker_name,
                          std::chrono::ceil<std::chrono::milliseconds>(options_.silence_limit));
    if (!WaitForConnection(*channel)) {
      return Broke("no connection could be made");
    }
    const std::unique_ptr<v1::Worker::Stub> stub = v1::Worker::NewStub(channel);
    {
      const std::lock_guard lock(mutex_);
      stream_ = stub->Serve(&context_);
    }
    v1::HeadMessage hello;
    hello.mutable_hello()->set_wire_version(engine::runtime::kWireVersion);
    hello.mutable_hello()->set_program_version(options_.program_version);
    hello.mutable_hello()->set_epoch(options_.epoch.value());
    hello.mutable_hello()->set_config_hash(options_.config_hash);
    hello.mutable_hello()->set_rank(options_.rank.value());
    asked_ = std::chrono::system_clock::now();
    (void)Write(hello);  // A failure shows in Read.
    std::optional<LinkEnd> end;
    v1::WorkerMessage message;
    while (!end.has_value() && stream_->Read(&message)) {
      end = Take(message);
    }
    if (end.has_value()) {
      context_.TryCancel();
    }
    std::unique_ptr<grpc::ClientReaderWriter<v1::HeadMessage, v1::WorkerMessage>> stream;
    {
      const std::lock_guard lock(mutex_);
      stream = std::move(stream_);
    }
    const grpc::Status status = stream->Finish();
    if (end.has_value()) {
      return *std::move(end);
    }
    return Broke(status.ok() ? "the worker ended the stream"
                             : absl::StrFormat("the stream broke: %s", status.error_message()));
  }

  // Until the channel is connected, or has failed: then opening the stream fails too and says why,
  // which a channel alone does not.
  bool WaitForConnection(grpc::Channel& channel) {
    const engine::Time deadline = std::chrono::steady_clock::now() + options_.connect_timeout;
    while (std::chrono::steady_clock::now() < deadline) {
      const gpr_timespec slice = gpr_time_from_millis(kConnectSlice.count(), GPR_TIMESPAN);
      if (channel.WaitForConnected(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), slice)) ||
          channel.GetState(false) == GRPC_CHANNEL_TRANSIENT_FAILURE) {
        return true;
      }
      const std::lock_guard lock(mutex_);
      if (stopping_) {
        return false;
      }
    }
    return false;
  }

  // Passes a message on; the end of the link when it was the last, or makes no sense.
  std::optional<LinkEnd> Take(const v1::WorkerMessage& message) {
    WorkerMessage what = DecodeWorkerMessage(message, asked_, std::chrono::system_clock::now());
    if (auto* end = std::get_if<LinkEnd>(&what)) {
      return std::move(*end);
    }
    Push(std::move(what));
    return std::nullopt;
  }

  void Push(WorkerMessage what) {
    const engine::Time now = std::chrono::steady_clock::now();
    LinkEvent event{options_.rank, options_.opening, std::move(what), now};
    const engine::Time deadline = now + kPushTimeout;
    while (
        !options_.events->Push(std::move(event), std::chrono::steady_clock::now() + kPushSlice)) {
      const std::lock_guard lock(mutex_);
      if (stopping_ || std::chrono::steady_clock::now() >= deadline) {
        context_.TryCancel();  // Nobody asks any more, or the engine loop has stopped.
        return;
      }
    }
  }

  const LinkOptions options_;
  grpc::ClientContext context_;
  WallTime asked_;    // of the link's thread alone
  std::mutex mutex_;  // of what follows, and of writing
  std::unique_ptr<grpc::ClientReaderWriter<v1::HeadMessage, v1::WorkerMessage>> stream_;
  bool stopping_ = false;
  engine::Thread thread_;  // last: it uses all of the above
};

WorkerLink::WorkerLink(LinkOptions options)
    : stream_(std::make_unique<Stream>(std::move(options))) {}

WorkerLink::~WorkerLink() = default;

absl::Status WorkerLink::SendFormGroup(const std::string& session_key) {
  v1::HeadMessage message;
  message.mutable_form_group()->set_session_key(session_key);
  return stream_->Write(message);
}

absl::Status WorkerLink::SendPlan(const engine::runtime::StepPlan& plan) {
  v1::HeadMessage message;
  engine::runtime::PlanToProto(plan, message.mutable_plan());
  return stream_->Write(message);
}

absl::Status WorkerLink::SendHeartbeat() {
  v1::HeadMessage message;
  message.mutable_heartbeat();
  return stream_->Write(message);
}

void WorkerLink::SendGoodbye() {
  v1::HeadMessage message;
  message.mutable_goodbye();
  (void)stream_->Write(message);
}

}  // namespace sparkspan::head::cluster
