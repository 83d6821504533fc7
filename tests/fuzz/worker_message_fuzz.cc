#include <chrono>
#include <cstddef>
#include <cstdint>

#include "engine/base/log.h"
#include "head/cluster/worker_message.h"
#include "proto/sparkspan/v1/worker.pb.h"

// What a worker says to a head, as a stranger may say it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace cluster = sparkspan::head::cluster;
  sparkspan::v1::WorkerMessage message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) {
    return 0;
  }
  const cluster::WorkerMessage what = cluster::DecodeWorkerMessage(message, {}, {});
  if (const auto* end = std::get_if<cluster::LinkEnd>(&what)) {
    CHECK(!end->why.ok()) << "an end without a reason";
  } else if (const auto* fabric = std::get_if<cluster::WorkerFabric>(&what)) {
    for (const auto& sample : fabric->interfaces) {
      CHECK(!sample.declared.pin.interface.empty() && sample.declared.pin.interface.size() <= 15);
      CHECK(sample.fault.find('\n') == std::string::npos) << "a log would have another line";
    }
  }
  return 0;
}
