#include "head/cluster/worker_channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>

namespace sparkspan::head::cluster {
namespace {

// gRPC asks a silent transport no sooner than this.
constexpr std::chrono::milliseconds kKeepaliveLeast{1'000};
constexpr int kMessageBytesMax = 64 << 20;

}  // namespace

std::shared_ptr<grpc::Channel> MakeWorkerChannel(
    const std::string& target,
    const std::optional<engine::identity::Credentials>& credentials,
    const std::string& worker_name,
    std::chrono::milliseconds silence_limit) {
  grpc::ChannelArguments arguments;
  // Heartbeats are the detector, and it alone decides before the limit. This ends a write that a
  // stopped worker blocks, so that the engine loop can go on to judge.
  const auto keepalive_ms = static_cast<int>(std::max(kKeepaliveLeast, silence_limit).count());
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive_ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // A proxy of the environment must never see the control plane.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Two links to one target must not share a connection: each is a lease of its own.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  if (!credentials.has_value()) {
    return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
  }
  // The target is the relay's socket; whom the certificate must be for is known from cluster.yaml.
  arguments.SetSslTargetNameOverride(worker_name);
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = credentials->authority;
  tls.pem_private_key = credentials->key;
  tls.pem_cert_chain = credentials->certificate;
  return grpc::CreateCustomChannel(target, grpc::SslCredentials(tls), arguments);
}

}  // namespace sparkspan::head::cluster
