#include <map>
#include <string>

#include "absl/strings/str_format.h"
#include "engine/doctor/examination.h"
#include "engine/doctor/kernel_log.h"

namespace sparkspan::engine::doctor {

void CheckKernelLog(const Examination& examination, Report* report) {
  const auto& log = examination.facts.kernel_log;
  if (!log.has_value()) {
    report->Skip("host.kernel-log", "it may not be read here: run the doctor as root");
    return;
  }
  std::map<std::string, int> counts;
  std::string last;
  for (const std::string& message : *log) {
    if (const std::string kind(HardwareErrorOf(message)); !kind.empty()) {
      ++counts[kind];
      last = message;
    }
  }
  if (counts.empty()) {
    report->Pass("host.kernel-log", examination.node.name, "no PCIe, GPU or NIC errors");
    return;
  }
  std::string found;
  for (const auto& [kind, count] : counts) {
    found += absl::StrFormat("%s%d of the %s", found.empty() ? "" : ", ", count, kind);
  }
  report->Warn("host.kernel-log",
               examination.node.name,
               found + "; last: " + last,
               "no hardware errors since boot",
               "reseat the cable and restart the machine; if they come back, it needs service");
}

}  // namespace sparkspan::engine::doctor
