#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <optional>
#include <string>

#include "engine/identity/credentials.h"

namespace sparkspan::head::cluster {

// A channel of its own to a worker, shared with no other. `target` is a relay's. With credentials
// it is mutual TLS, and the worker's certificate must carry `worker_name`.
std::shared_ptr<grpc::Channel> MakeWorkerChannel(
    const std::string& target,
    const std::optional<engine::identity::Credentials>& credentials,
    const std::string& worker_name);

}  // namespace sparkspan::head::cluster
