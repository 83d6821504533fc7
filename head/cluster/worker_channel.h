#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "engine/identity/credentials.h"

namespace sparkspan::head::cluster {

// A channel of its own to a worker, shared with no other. `target` is a relay's. With credentials
// it is mutual TLS, and the worker's certificate must carry `worker_name`. A transport that is
// silent for `silence_limit` is asked, and gone after as much again.
std::shared_ptr<grpc::Channel> MakeWorkerChannel(
    const std::string& target,
    const std::optional<engine::identity::Credentials>& credentials,
    const std::string& worker_name,
    std::chrono::milliseconds silence_limit);

}  // namespace sparkspan::head::cluster
