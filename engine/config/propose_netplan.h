#pragma once

#include <string>
#include <vector>

#include "engine/config/propose_config.h"

namespace sparkspan::engine::config {

// What netplan lacks where ports of a fabric have a link but no static address: a file for each
// node, as text with its name and place. Halves of one cage get a subnet each, the same on every
// node. Empty where nothing is missing.
std::string MissingNetplan(const std::vector<NodeDescription>& nodes);

}  // namespace sparkspan::engine::config
