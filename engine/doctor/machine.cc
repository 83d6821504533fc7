#include "engine/doctor/machine.h"

#include <charconv>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/fabric/environment.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::doctor {
namespace {

using fabric::InterfaceAddress;

class ListedAddresses final : public fabric::AddressSource {
 public:
  explicit ListedAddresses(std::vector<InterfaceAddress> addresses)
      : addresses_(std::move(addresses)) {}
  absl::StatusOr<std::vector<InterfaceAddress>> Addresses() const override { return addresses_; }
  std::optional<std::string> KernelName(const std::string&) const override { return std::nullopt; }

 private:
  std::vector<InterfaceAddress> addresses_;
};

absl::StatusOr<InterfaceAddress> ParseAddress(const std::string& line) {
  std::istringstream fields(line);
  InterfaceAddress held;
  std::string address;
  fields >> held.interface >> address;
  const std::size_t slash = address.find('/');
  const auto ipv4 = fabric::ParseIpv4(address.substr(0, slash));
  const std::string prefix = slash == std::string::npos ? "" : address.substr(slash + 1);
  const auto [end, fault] =
      std::from_chars(prefix.data(), prefix.data() + prefix.size(), held.prefix_length);
  if (!ipv4.ok() || fault != std::errc() || end != prefix.data() + prefix.size() ||
      held.prefix_length < 0 || held.prefix_length > 32) {
    return absl::InvalidArgumentError(
        absl::StrFormat("'%s': expected INTERFACE ADDRESS/PREFIX", line));
  }
  held.address = *ipv4;
  return held;
}

std::vector<std::string> Lines(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  std::istringstream text(fabric::ReadText(file).value_or(""));
  for (std::string line; std::getline(text, line);) {
    if (!line.empty()) {
      lines.push_back(line);
    }
  }
  return lines;
}

DiskFacts ReadDisk(const std::filesystem::path& file) {
  DiskFacts disk;
  std::istringstream fields(fabric::ReadLine(file));
  std::int64_t free = 0;
  double speed = 0;
  if (fields >> free >> speed) {
    disk.free_bytes = free;
    disk.read_bytes_per_second = speed;
  } else {
    disk.why_not = "a copy of a machine has no disk to measure";
  }
  return disk;
}

}  // namespace

Machine ThisMachine() {
  return {"/",
          std::make_shared<fabric::KernelAddressSource>(),
          std::make_shared<fabric::KernelRouteSource>(),
          fabric::Environment(),
          std::nullopt};
}

absl::StatusOr<Machine> MachineIn(const std::filesystem::path& root) {
  std::vector<InterfaceAddress> addresses;
  for (const std::string& line : Lines(root / "addresses")) {
    ASSIGN_OR_RETURN(InterfaceAddress held, ParseAddress(line));
    addresses.push_back(std::move(held));
  }
  const std::string table = fabric::ReadText(root / "proc" / "net" / "route").value_or("");
  return Machine{root,
                 std::make_shared<ListedAddresses>(std::move(addresses)),
                 std::make_shared<fabric::TableRouteSource>(fabric::ParseRouteTable(table)),
                 Lines(root / "environ"),
                 ReadDisk(root / "disk")};
}

}  // namespace sparkspan::engine::doctor
