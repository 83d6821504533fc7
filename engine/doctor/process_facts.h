#pragma once

#include <filesystem>
#include <vector>

#include "engine/doctor/facts.h"

namespace sparkspan::engine::doctor {

// The processes under `proc`. Which files another user's process has open is only root's to see.
std::vector<Process> ReadProcesses(const std::filesystem::path& proc);

// The listening sockets of proc/net/tcp and tcp6, with the processes that have them. One of all
// IPv6 addresses counts as one of all IPv4 addresses too, which it is unless its process asked
// otherwise: the kernel does not say there.
std::vector<ListeningPort> ReadListeningPorts(const std::filesystem::path& proc);

}  // namespace sparkspan::engine::doctor
