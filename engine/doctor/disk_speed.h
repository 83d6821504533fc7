#pragma once

#include <string>

#include "engine/doctor/machine.h"

namespace sparkspan::engine::doctor {

// Of the file system under `folder`, a checkpoint's: its free space, and how fast the largest shard
// is read past the page cache, as a rank loads it. Reads for at most two seconds, and a buffer's
// worth longer.
DiskFacts MeasureDisk(const std::string& folder);

}  // namespace sparkspan::engine::doctor
