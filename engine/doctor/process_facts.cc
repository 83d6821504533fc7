#include "engine/doctor/process_facts.h"

#include <arpa/inet.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>

#include "absl/strings/str_format.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::doctor {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kListening = "0A";  // The state's number in proc/net/tcp.
constexpr std::size_t kIpv4Digits = 8;
constexpr std::size_t kIpv6Digits = 32;

bool IsNumber(const std::string& text) {
  return !text.empty() && text.size() < 10 &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

bool IsHex(const std::string& text, std::size_t digits) {
  return text.size() == digits &&
         text.find_first_not_of("0123456789ABCDEFabcdef") == std::string::npos;
}

// The IPv4 address that a table's address stands for, in words of this machine's order; empty for
// one that only IPv6 has.
std::optional<fabric::Ipv4Address> Ipv4Of(const std::string& address) {
  const std::string last = address.substr(address.size() - kIpv4Digits);
  if (address.size() == kIpv6Digits) {
    std::uint32_t marker = htonl(0xFFFF);
    const std::string mapped = std::string(16, '0') + absl::StrFormat("%08X", marker);
    const bool is_wildcard = address == std::string(kIpv6Digits, '0');
    if (!is_wildcard && !address.starts_with(mapped)) {
      return std::nullopt;
    }
  }
  return fabric::Ipv4Address{ntohl(static_cast<std::uint32_t>(std::stoul(last, nullptr, 16)))};
}

// What each of a process's descriptors points to: "socket:[4711]", "/dev/nvidia-uvm".
std::vector<std::string> OpenFiles(const fs::path& process) {
  std::vector<std::string> files;
  for (const std::string& descriptor : fabric::EntryNames(process / "fd")) {
    std::error_code fault;
    const fs::path target = fs::read_symlink(process / "fd" / descriptor, fault);
    if (!fault) {
      files.push_back(target.string());
    }
  }
  return files;
}

}  // namespace

std::vector<Process> ReadProcesses(const fs::path& proc) {
  std::vector<Process> processes;
  for (const std::string& name : fabric::EntryNames(proc)) {
    if (!IsNumber(name)) {
      continue;
    }
    Process process{std::stoi(name), fabric::ReadLine(proc / name / "comm"), false};
    for (const std::string& file : OpenFiles(proc / name)) {
      process.holds_gpu = process.holds_gpu || file.starts_with("/dev/nvidia-uvm");
    }
    processes.push_back(std::move(process));
  }
  return processes;
}

std::vector<ListeningPort> ReadListeningPorts(const fs::path& proc) {
  std::map<std::string, std::string> owners;  // the process by "socket:[INODE]"
  for (const std::string& name : fabric::EntryNames(proc)) {
    if (IsNumber(name)) {
      for (const std::string& file : OpenFiles(proc / name)) {
        if (file.starts_with("socket:")) {
          owners[file] = fabric::ReadLine(proc / name / "comm") + " (pid " + name + ")";
        }
      }
    }
  }
  std::vector<ListeningPort> ports;
  for (const char* table : {"tcp", "tcp6"}) {
    std::istringstream lines(fabric::ReadText(proc / "net" / table).value_or(""));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, queues, timer, retransmits, user, timeout, inode;
      if (!(fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> user >>
            timeout >> inode) ||
          state != kListening) {
        continue;
      }
      const std::size_t colon = local.find(':');
      const std::string address = local.substr(0, colon);
      const std::string port = colon == std::string::npos ? "" : local.substr(colon + 1);
      if ((IsHex(address, kIpv4Digits) || IsHex(address, kIpv6Digits)) && IsHex(port, 4)) {
        const auto owner = owners.find("socket:[" + inode + "]");
        ports.push_back({Ipv4Of(address),
                         static_cast<std::uint16_t>(std::stoul(port, nullptr, 16)),
                         owner == owners.end() ? "" : owner->second});
      }
    }
  }
  return ports;
}

}  // namespace sparkspan::engine::doctor
