#include "engine/fabric/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::engine::fabric {

absl::StatusOr<Ipv4Address> ParseIpv4(std::string_view text) {
  const std::string terminated(text);
  in_addr address{};
  if (text.find('\0') != std::string_view::npos ||
      inet_pton(AF_INET, terminated.c_str(), &address) != 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'%s' is no IPv4 address; give a numeric one such as 192.168.177.1", terminated));
  }
  return Ipv4Address{ntohl(address.s_addr)};
}

std::string ToString(Ipv4Address address) {
  return absl::StrFormat("%d.%d.%d.%d",
                         address.bits >> 24,
                         address.bits >> 16 & 0xFFu,
                         address.bits >> 8 & 0xFFu,
                         address.bits & 0xFFu);
}

bool IsNumericAddress(const std::string& text) {
  in6_addr ipv6{};
  return ParseIpv4(text).ok() ||
         (text.find('\0') == std::string::npos && inet_pton(AF_INET6, text.c_str(), &ipv6) == 1);
}

Ipv4Address NetworkOf(Ipv4Address address, int prefix_length) {
  // A shift by all 32 bits is undefined.
  return prefix_length == 0 ? Ipv4Address{0}
                            : Ipv4Address{address.bits & ~std::uint32_t{0} << (32 - prefix_length)};
}

std::string ToString(const Endpoint& endpoint) {
  return absl::StrFormat("%s:%d", ToString(endpoint.address), endpoint.port);
}

absl::StatusOr<Endpoint> ParseEndpoint(std::string_view text) {
  const std::size_t colon = std::min(text.rfind(':'), text.size());
  ASSIGN_OR_RETURN(const Ipv4Address address, ParseIpv4(text.substr(0, colon)));
  const std::string_view digits = text.substr(std::min(colon + 1, text.size()));
  std::uint16_t port = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (fault != std::errc() || end != digits.data() + digits.size()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'%s' is no address and port; expected such as 192.168.177.1:7100", std::string(text)));
  }
  return Endpoint{address, port};
}

}  // namespace sparkspan::engine::fabric
