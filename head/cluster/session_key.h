#pragma once

#include <string>

namespace sparkspan::head::cluster {

// 32 bytes from the system's randomness: what the ranks of one epoch prove themselves to each other
// with. Never logged.
std::string NewSessionKey();

}  // namespace sparkspan::head::cluster
