#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sparkspan::engine::doctor {

// The messages of a kernel log, as /dev/kmsg gives them or a copy of it holds them: "PRIORITY,
// SEQUENCE,TIME,FLAGS;MESSAGE" lines, of which those that begin with a space continue the one
// before. Empty when it may not be read, which takes CAP_SYSLOG where kernel.dmesg_restrict is set.
// Bounded: the first 16 MiB, never waiting for a message to come.
std::optional<std::vector<std::string>> ReadKernelLog(const std::filesystem::path& file);

// What a message says is broken below the cluster: "PCIe" (AER), "GPU" (Xid) or "NIC" (mlx5); empty
// for anything else, also for mlx5's remark about a slot's power, which is harmless on a Spark.
std::string_view HardwareErrorOf(std::string_view message);

}  // namespace sparkspan::engine::doctor
