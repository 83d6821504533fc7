#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/fabric/counters.h"
#include "engine/fabric/link_facts.h"
#include "engine/fabric/path_watch.h"
#include "engine/fabric/pin.h"
#include "engine/fabric/pin_watch.h"

namespace sparkspan::engine::fabric {

// A pin, and the planes of the cluster that it is declared for.
struct PlanePin {
  DeclaredPin pin;
  bool control = false;
  bool data = false;
  std::string net = {};  // what carries exchanges over it: "TCP"; empty where none go
  std::vector<Ipv4Address> peers = {};  // whom it is to reach

  bool operator==(const PlanePin&) const = default;
};

// A declared interface at one moment.
struct PinSample {
  PlanePin declared;
  int interface_index = 0;  // 0: there is no such interface now
  std::string fault;        // why it is not as declared; empty while it is
  // What is wrong with the routes by it or with its MTU. Sockets are bound to it all the same.
  std::string path_fault;
  InterfaceCounters counters;
  LinkFacts link;

  bool operator==(const PinSample&) const = default;
};

// The declared interfaces of this machine: watched for news of their links, addresses, routes and
// MTUs, and counted whenever somebody asks. Thread-safe.
class PinMonitor {
 public:
  // `on_fault` hears of every pin that does not hold: by Start, then by the watching thread.
  using OnFault = std::function<void(const std::string& fault)>;

  // The pins need not hold yet. `sysfs` is where the counters are read.
  static absl::StatusOr<std::unique_ptr<PinMonitor>> Start(std::filesystem::path sysfs,
                                                           std::vector<PlanePin> pins,
                                                           OnFault on_fault);

  // One for each pin, in the order given.
  std::vector<PinSample> Sample() const;

  // Of the first pin that does not hold, so that nothing can be sent by it; empty while all do.
  std::string fault() const;

  // How often a pin has ceased to hold, come back, or has a fault of another kind.
  std::uint64_t changes() const;
  // How often one has ceased to hold, and why it did last, also when it holds again by now.
  std::uint64_t losses() const;
  std::string last_loss() const;

 private:
  PinMonitor(std::filesystem::path sysfs, std::vector<PlanePin> pins, OnFault on_fault);
  void Take(const DeclaredPin& pin, const std::string& fault);

  const std::filesystem::path sysfs_;
  const std::vector<PlanePin> pins_;
  const OnFault on_fault_;

  mutable std::mutex mutex_;         // of what follows
  std::vector<std::string> faults_;  // [pins]
  std::uint64_t changes_ = 0;
  std::uint64_t losses_ = 0;
  std::string last_loss_;

  std::unique_ptr<PathWatch> paths_;
  std::unique_ptr<PinWatch> watch_;  // last: it uses all of the above
};

}  // namespace sparkspan::engine::fabric
