#include "worker/service.h"

#include <grpc/grpc_security_constants.h>
#include <grpc/support/time.h>
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/log_throttle.h"
#include "engine/base/status.h"
#include "engine/fabric/address.h"
#include "engine/fabric/interfaces.h"
#include "engine/fabric/pinned_socket.h"
#include "proto/sparkspan/v1/worker.grpc.pb.h"
#include "worker/examine.h"
#include "worker/lease.h"
#include "worker/session.h"

namespace sparkspan::worker {
namespace {

// For the transport of a head that is gone without a word; its signs of life are judged by the
// session, which alone decides before this.
constexpr int kKeepaliveLimits = 2;  // of silence
constexpr int kMinPingIntervalMs = 500;
constexpr int kMessageBytesMax = 64 << 20;
constexpr int kThreadsMax = 32;
constexpr std::chrono::seconds kHandOverTimeout{10};
constexpr std::chrono::seconds kShutdownGrace{2};
constexpr std::chrono::milliseconds kHealthInterval{200};

// `Asked` is a hello or a request to examine.
template <typename Asked>
absl::Status RefuseRelease(const Asked& asked, const ServiceOptions& options) {
  if (asked.wire_version() != engine::runtime::kWireVersion) {
    return absl::FailedPreconditionError(
        absl::StrFormat("wire version %d of the head, %d of this worker: install the same release "
                        "on every node",
                        asked.wire_version(),
                        engine::runtime::kWireVersion));
  }
  if (asked.program_version() != options.program_version) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "program version %s of the head, %s of this worker: install the same release on every node",
        asked.program_version(),
        options.program_version));
  }
  return absl::OkStatus();
}

template <typename Asked>
absl::Status RefuseConfiguration(const Asked& asked, const RankIdentity& own) {
  if (asked.config_hash() != own.config_hash) {
    return absl::FailedPreconditionError(
        absl::StrFormat("cluster.yaml has hash %016x at the head, %016x here: copy the head's file "
                        "to this node and start the worker again",
                        asked.config_hash(),
                        own.config_hash));
  }
  return absl::OkStatus();
}

absl::Status RefuseHello(const v1::Hello& hello,
                         const ServiceOptions& options,
                         const RankIdentity& own) {
  RETURN_IF_ERROR(RefuseRelease(hello, options));
  if (hello.rank() != own.rank.value()) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "asked for rank %d, this worker is rank %d: compare the addresses in cluster.yaml",
        hello.rank(),
        own.rank.value()));
  }
  return RefuseConfiguration(hello, own);
}

// A peer without a certificate of the authority does not get past the handshake.
std::shared_ptr<grpc::ServerCredentials> ServerCredentials(
    const std::optional<engine::identity::Credentials>& tls) {
  if (!tls.has_value()) {
    return grpc::InsecureServerCredentials();
  }
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = tls->authority;
  options.pem_key_cert_pairs.push_back({tls->key, tls->certificate});
  return grpc::SslServerCredentials(options);
}

}  // namespace

class Service::Server final : public v1::Worker::Service {
 public:
  Server(const ServiceOptions& options, Lifecycle& lifecycle)
      : options_(options), lifecycle_(lifecycle) {}

  ~Server() override {
    stopping_ = true;
    lease_.Close(absl::CancelledError("the worker is stopping"));
    if (server_ == nullptr) {
      return;
    }
    server_->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                   gpr_time_from_seconds(kShutdownGrace.count(), GPR_TIMESPAN)));
    health_watch_.Join();
  }

  absl::Status Listen() {
    // Once, before any server: gRPC reads it when one is built.
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrFormat("%s:%d", options_.address, options_.port),
                             ServerCredentials(options_.tls),
                             &port_);
    builder.RegisterService(this);
    // Two workers on one port would each get some of the head's connections, silently.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    const auto keepalive_ms = static_cast<int>(
        std::chrono::ceil<std::chrono::milliseconds>(kKeepaliveLimits * options_.silence_limit)
            .count());
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive_ms);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kMinPingIntervalMs);
    builder.SetMaxReceiveMessageSize(kMessageBytesMax);
    builder.SetMaxSendMessageSize(kMessageBytesMax);
    grpc::ResourceQuota quota("worker");
    quota.SetMaxThreads(kThreadsMax);
    builder.SetResourceQuota(quota);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(
          absl::StrFormat("cannot listen on %s port %d: is another process on it?",
                          options_.address,
                          options_.port));
    }
    SetServing(false);
    health_watch_ = engine::Thread("health", [this] { WatchHealth(); });
    return absl::OkStatus();
  }

  int port() const { return port_; }

  grpc::Status Serve(grpc::ServerContext* context, SessionStream* stream) override {
    const absl::Status status = CheckAsker(*context);
    if (!status.ok()) {
      LogRefusal(std::string(status.message()));
      return grpc::Status(grpc::StatusCode::PERMISSION_DENIED, std::string(status.message()));
    }
    v1::HeadMessage message;
    if (!stream->Read(&message) || !message.has_hello()) {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "a stream begins with a hello");
    }
    const v1::Hello hello = message.hello();
    absl::Status refused = RefuseHello(hello, options_, lifecycle_.identity());
    const engine::Epoch epoch(hello.epoch());
    if (refused.ok()) {
      refused = TakeLease(epoch, context);
    }
    if (!refused.ok()) {
      LogRefusal(absl::StrFormat("a head is refused: %s", refused.message()));
      v1::WorkerMessage answer = FailureMessage(refused, absl::IsFailedPrecondition(refused));
      if (const auto newest = lease_.NewestWhileFree(); newest && absl::IsAborted(refused)) {
        answer.mutable_failure()->set_newest_epoch(newest->value());
      }
      stream->Write(answer);
      return grpc::Status::OK;
    }
    const SessionOptions session{
        epoch, options_.program_version, options_.heartbeat_interval, options_.silence_limit};
    const SessionEnd end = Session(lifecycle_, session, *context, *stream).Run();
    lease_.Return(end.epoch, end.formed);
    return grpc::Status::OK;
  }

  grpc::Status Examine(grpc::ServerContext* context,
                       const v1::ExamineRequest* request,
                       v1::ExamineResponse* response) override {
    const absl::Status may_ask = CheckAsker(*context);
    absl::StatusOr<v1::ExamineResponse> answer =
        may_ask.ok() ? ExamineFor(*request) : absl::StatusOr<v1::ExamineResponse>(may_ask);
    if (!answer.ok()) {
      LogRefusal(absl::StrFormat("a doctor is refused: %s", answer.status().message()));
      return grpc::Status(static_cast<grpc::StatusCode>(answer.status().code()),
                          std::string(answer.status().message()));
    }
    *response = *std::move(answer);
    return grpc::Status::OK;
  }

 private:
  // What a head, or a stranger, can cause as often as it likes.
  void LogRefusal(std::string text) {
    refusals_.Warn(std::move(text), std::chrono::steady_clock::now());
  }

  // Ends the stream of an older epoch, and the rank's part in that.
  absl::Status TakeLease(engine::Epoch epoch, grpc::ServerContext* context) {
    const auto end_stream = [this, context](const absl::Status& why) {
      context->TryCancel();
      lifecycle_.Abort(why);
    };
    return lease_.Take(epoch, end_stream, kHandOverTimeout);
  }

  absl::StatusOr<v1::ExamineResponse> ExamineFor(const v1::ExamineRequest& request) {
    RETURN_IF_ERROR(RefuseRelease(request, options_));
    RETURN_IF_ERROR(RefuseConfiguration(request, lifecycle_.identity()));
    if (options_.examiner == nullptr) {
      return absl::UnimplementedError("this worker examines nothing");
    }
    return worker::Examine(request, *options_.examiner);
  }

  // Only the head's node may ask for anything, and only by the declared interface.
  absl::Status CheckAsker(const grpc::ServerContext& context) const {
    RETURN_IF_ERROR(CheckSource(context));
    RETURN_IF_ERROR(CheckRole(context));
    return HoldOnInterface(context);
  }

  // gRPC spells a peer "ipv4:127.0.0.1:12345".
  absl::Status CheckSource(const grpc::ServerContext& context) const {
    const std::string peer = context.peer();
    const std::string expected = "ipv4:" + options_.head_address + ":";
    if (peer.starts_with(expected)) {
      return absl::OkStatus();
    }
    return absl::PermissionDeniedError(
        absl::StrFormat("a stream from %s is refused: the head's control address in cluster.yaml "
                        "is %s",
                        peer,
                        options_.head_address));
  }

  // The authority signs workers too: only who carries the head's name may command.
  absl::Status CheckRole(const grpc::ServerContext& context) const {
    if (!options_.tls.has_value()) {
      return absl::OkStatus();
    }
    std::string names;
    for (const grpc::string_ref& property :
         context.auth_context()->FindPropertyValues(GRPC_X509_SAN_PROPERTY_NAME)) {
      const std::string name(property.data(), property.size());
      if (name == options_.head_name) {
        return absl::OkStatus();
      }
      names += (names.empty() ? "" : ", ") + name;
    }
    return absl::PermissionDeniedError(absl::StrFormat(
        "a certificate for %s is refused: the head's carries %s", names, options_.head_name));
  }

  // gRPC's own sockets are bound to an address only: when the interface loses its link the kernel
  // would send their packets by any other way that it has.
  absl::Status HoldOnInterface(const grpc::ServerContext& context) const {
    if (options_.interface.empty()) {
      return absl::OkStatus();
    }
    const std::string peer = context.peer();
    ASSIGN_OR_RETURN(const engine::fabric::Endpoint endpoint,
                     engine::fabric::ParseEndpoint(peer.substr(peer.find(':') + 1)));
    ASSIGN_OR_RETURN(const engine::fabric::Ipv4Address own,
                     engine::fabric::ParseIpv4(options_.address));
    ASSIGN_OR_RETURN(
        const engine::fabric::SocketPath path,
        engine::fabric::HoldConnection(
            {options_.interface, own}, endpoint, engine::fabric::KernelAddressSource()));
    LOG(INFO) << "the head's stream comes by " << path.interface << ", bound by "
              << engine::fabric::ToString(path.binding);
    return absl::OkStatus();
  }

  void SetServing(bool is_serving) {
    server_->GetHealthCheckService()->SetServingStatus(is_serving);
    server_->GetHealthCheckService()->SetServingStatus(v1::Worker::service_full_name(), is_serving);
  }

  // Says SERVING from when the weights are there.
  void WatchHealth() {
    while (!stopping_) {
      if (lifecycle_.WaitUntilLoaded(std::chrono::steady_clock::now() + kHealthInterval)) {
        SetServing(true);
        return;
      }
    }
  }

  const ServiceOptions options_;
  Lifecycle& lifecycle_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;

  Lease lease_;
  engine::LogThrottle refusals_;
  std::atomic<bool> stopping_{false};
  engine::Thread health_watch_;
};

Service::Service(std::unique_ptr<Server> server) : server_(std::move(server)) {}
Service::~Service() = default;

absl::StatusOr<std::unique_ptr<Service>> Service::Start(const ServiceOptions& options,
                                                        Lifecycle& lifecycle) {
  auto server = std::make_unique<Server>(options, lifecycle);
  RETURN_IF_ERROR(server->Listen());
  return std::unique_ptr<Service>(new Service(std::move(server)));
}

int Service::port() const {
  return server_->port();
}

}  // namespace sparkspan::worker
