#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/fabric/address.h"
#include "engine/fabric/netlink.h"

namespace sparkspan::engine::fabric {

// Something that the kernel said of a link or an address of this machine.
struct LinkEvent {
  enum class Kind : std::uint8_t {
    kLinkUp,  // can carry packets
    kLinkDown,
    kLinkRemoved,  // A cable that is unplugged can take its PCIe function with it.
    kAddressAdded,
    kAddressRemoved,
    kLost  // There were more news than could be held: look at everything again.
  };

  Kind kind = Kind::kLost;
  int interface_index = 0;
  std::string interface;  // of the link events; an address event has its index only
  Ipv4Address address;    // of the address events

  bool operator==(const LinkEvent&) const = default;
};

// Of one datagram of rtnetlink. What is neither of a link nor of an IPv4 address is left out.
std::vector<LinkEvent> ParseLinkEvents(std::span<const std::byte> datagram);

// The news of this machine's links and IPv4 addresses from now on.
class LinkEvents {
 public:
  static absl::StatusOr<LinkEvents> Open();

  // Readable when there are news.
  int fd() const { return socket_.fd(); }

  // Those that have come; waits until `deadline` for the first. Empty when none came.
  absl::StatusOr<std::vector<LinkEvent>> Wait(Time deadline) const;

 private:
  explicit LinkEvents(NetlinkSocket socket) : socket_(std::move(socket)) {}

  NetlinkSocket socket_;
};

}  // namespace sparkspan::engine::fabric
