#include "head/cluster/interface_meter.h"

#include <algorithm>
#include <chrono>

#include "engine/fabric/address.h"

namespace sparkspan::head::cluster {
namespace {

using engine::fabric::InterfaceCounters;
using engine::fabric::PinSample;

api::InterfaceStatus StatusOf(const PinSample& sample) {
  api::InterfaceStatus status;
  status.name = sample.declared.pin.interface;
  status.address = engine::fabric::ToString(sample.declared.pin.address);
  status.index = sample.interface_index;
  status.control = sample.declared.control;
  status.data = sample.declared.data;
  status.fault = sample.fault;
  status.path_fault = sample.path_fault;
  status.net = sample.declared.net;
  status.link = sample.link;
  status.sent_bytes = sample.counters.sent_bytes;
  status.received_bytes = sample.counters.received_bytes;
  status.errors = sample.counters.errors;
  status.dropped = sample.counters.dropped;
  status.rdma_sent_bytes = sample.counters.rdma_sent_bytes;
  status.rdma_received_bytes = sample.counters.rdma_received_bytes;
  return status;
}

}  // namespace

void InterfaceMeter::Take(std::span<const PinSample> samples, engine::Time at) {
  std::vector<api::InterfaceStatus> interfaces;
  const double seconds = std::chrono::duration<double>(at - base_at_).count();
  const bool is_due = at - base_at_ >= kWindow;
  for (const PinSample& sample : samples) {
    api::InterfaceStatus status = StatusOf(sample);
    const auto before = std::find_if(base_.begin(), base_.end(), [&](const PinSample& other) {
      return other.declared == sample.declared;
    });
    const auto last = std::find_if(
        interfaces_.begin(), interfaces_.end(), [&](const api::InterfaceStatus& other) {
          return other.name == status.name && other.address == status.address;
        });
    if (before != base_.end() && is_due) {
      const InterfaceCounters grown = Difference(before->counters, sample.counters);
      status.sent_bytes_per_second =
          static_cast<double>(grown.sent_bytes + grown.rdma_sent_bytes) / seconds;
      status.received_bytes_per_second =
          static_cast<double>(grown.received_bytes + grown.rdma_received_bytes) / seconds;
    } else if (last != interfaces_.end()) {
      status.sent_bytes_per_second = last->sent_bytes_per_second;
      status.received_bytes_per_second = last->received_bytes_per_second;
    }
    interfaces.push_back(std::move(status));
  }
  interfaces_ = std::move(interfaces);
  if (base_.empty() || is_due) {
    base_.assign(samples.begin(), samples.end());
    base_at_ = at;
  }
}

}  // namespace sparkspan::head::cluster
