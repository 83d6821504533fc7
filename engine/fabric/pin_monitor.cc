#include "engine/fabric/pin_monitor.h"

#include <utility>

#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::fabric {

absl::StatusOr<std::unique_ptr<PinMonitor>> PinMonitor::Start(std::filesystem::path sysfs,
                                                              std::vector<PlanePin> pins,
                                                              OnFault on_fault) {
  std::vector<DeclaredPin> watched;
  std::vector<DeclaredPath> paths;
  for (const PlanePin& pin : pins) {
    watched.push_back(pin.pin);
    paths.push_back({pin.pin, pin.peers});
  }
  ASSIGN_OR_RETURN(
      auto path_watch,
      PathWatch::Start(sysfs, std::make_shared<KernelRouteSource>(), std::move(paths)));
  std::unique_ptr<PinMonitor> monitor(
      new PinMonitor(std::move(sysfs), std::move(pins), std::move(on_fault)));
  monitor->paths_ = std::move(path_watch);
  ASSIGN_OR_RETURN(
      monitor->watch_,
      PinWatch::Start(std::move(watched),
                      [own = monitor.get()](const DeclaredPin& pin, const std::string& fault) {
                        own->Take(pin, fault);
                      }));
  return monitor;
}

PinMonitor::PinMonitor(std::filesystem::path sysfs, std::vector<PlanePin> pins, OnFault on_fault)
    : sysfs_(std::move(sysfs)),
      pins_(std::move(pins)),
      on_fault_(std::move(on_fault)),
      faults_(pins_.size()) {}

void PinMonitor::Take(const DeclaredPin& pin, const std::string& fault) {
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < pins_.size(); ++i) {
      if (pins_[i].pin == pin) {
        faults_[i] = fault;
      }
    }
    ++changes_;
    if (!fault.empty()) {
      ++losses_;
      last_loss_ = fault;
    }
  }
  if (fault.empty()) {
    LOG(INFO) << "interface " << pin.interface << " is as declared again";
    return;
  }
  LOG(ERROR) << fault;
  if (on_fault_) {
    on_fault_(fault);
  }
}

std::vector<PinSample> PinMonitor::Sample() const {
  std::vector<PinSample> samples;
  for (const PlanePin& pin : pins_) {
    PinSample& sample = samples.emplace_back();
    sample.declared = pin;
    sample.interface_index = static_cast<int>(
        ReadNumber(sysfs_ / "class" / "net" / pin.pin.interface / "ifindex").value_or(0));
    sample.counters = ReadCounters(sysfs_, pin.pin.interface);
  }
  const std::vector<PathState> paths = paths_->states();
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    samples[i].link = paths[i].link;
    samples[i].fault = faults_[i];
    samples[i].path_fault = paths[i].fault;
  }
  return samples;
}

std::string PinMonitor::fault() const {
  const std::lock_guard lock(mutex_);
  for (const std::string& fault : faults_) {
    if (!fault.empty()) {
      return fault;
    }
  }
  return "";
}

std::uint64_t PinMonitor::changes() const {
  const std::lock_guard lock(mutex_);
  return changes_;
}

std::uint64_t PinMonitor::losses() const {
  const std::lock_guard lock(mutex_);
  return losses_;
}

std::string PinMonitor::last_loss() const {
  const std::lock_guard lock(mutex_);
  return last_loss_;
}

}  // namespace sparkspan::engine::fabric
