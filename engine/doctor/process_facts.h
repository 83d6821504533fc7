#pragma once

#include <filesystem>
#include <vector>

#include "engine/doctor/facts.h"

namespace sparkspan::engine::doctor {

// The processes under `proc`. Which files another user's process has open is only root's to see.
std::vector<Process> ReadProcesses(const std::filesystem::path& proc);

// The sockets that listen for IPv4, from proc/net/tcp, with the processes that have them.
std::vector<ListeningPort> ReadListeningPorts(const std::filesystem::path& proc);

}  // namespace sparkspan::engine::doctor
