#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/stop_event.h"
#include "engine/base/thread.h"
#include "engine/fabric/address.h"
#include "engine/fabric/link_facts.h"
#include "engine/fabric/netlink.h"
#include "engine/fabric/pin.h"
#include "engine/fabric/routes.h"

namespace sparkspan::engine::fabric {

// A pin, and whom it is to reach.
struct DeclaredPath {
  DeclaredPin pin;
  std::vector<Ipv4Address> peers;
};

// A path at one moment.
struct PathState {
  LinkFacts link;
  // What is no longer as it should be though the link may carry packets: the kernel's route to a
  // peer leaves by another interface, or the MTU has become smaller. Empty while nothing is.
  std::string fault;

  bool operator==(const PathState&) const = default;
};

// Looks at the routes and MTUs of declared paths when it starts, and again whenever the kernel has
// news of links, addresses or routes, on a thread of its own. Sockets stay on their interface
// whatever the routes are (docs/decisions/0009); but others that are made with no pin, and the
// answers of peers, may not.
class PathWatch {
 public:
  static absl::StatusOr<std::unique_ptr<PathWatch>> Start(std::filesystem::path sysfs,
                                                          std::shared_ptr<const RouteSource> routes,
                                                          std::vector<DeclaredPath> paths);
  ~PathWatch();
  PathWatch(const PathWatch&) = delete;
  PathWatch& operator=(const PathWatch&) = delete;

  // [paths], as last seen. Thread-safe.
  std::vector<PathState> states() const;

 private:
  PathWatch(std::filesystem::path sysfs,
            std::shared_ptr<const RouteSource> routes,
            std::vector<DeclaredPath> paths,
            NetlinkSocket news,
            StopEvent stop);
  void Run();
  // Takes what news there are; all of them mean one look.
  void Drain() const;
  void Look();
  std::string FindFault(std::size_t path, const LinkFacts& link);

  const std::filesystem::path sysfs_;
  const std::shared_ptr<const RouteSource> routes_;
  const std::vector<DeclaredPath> paths_;
  const NetlinkSocket news_;
  const StopEvent stop_;
  std::vector<std::int64_t> mtus_;  // [paths]: the largest that was seen; of who looks

  mutable std::mutex mutex_;
  std::vector<PathState> states_;  // [paths]

  Thread thread_;  // last: it uses all of the above
};

}  // namespace sparkspan::engine::fabric
