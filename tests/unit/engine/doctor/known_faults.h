#pragma once

#include <functional>
#include <ostream>
#include <span>

#include "engine/config/cluster_config.h"
#include "engine/doctor/finding.h"
#include "tests/unit/engine/doctor/spark_tree.h"

namespace sparkspan::engine::doctor {

// One thing that is wrong, and the check that must see it.
struct Fault {
  const char* name;
  const char* id;
  Outcome outcome;
  const char* message;  // in what was found, or in what to do next
  std::function<void(SparkTree&, config::ClusterConfig&)> break_it;
};

inline void PrintTo(const Fault& fault, std::ostream* out) {
  *out << fault.name;
}

std::span<const Fault> NetworkFaults();  // interface.* to rdma.*
std::span<const Fault> HostFaults();     // the others

}  // namespace sparkspan::engine::doctor
