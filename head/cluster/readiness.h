#pragma once

#include "head/api/generation.h"

namespace sparkspan::head::cluster {

// Judges an engine by its machines, which it does not see itself: with a declared interface that is
// not as declared, or without enough memory, it is degraded and gets no new requests, whatever its
// group can still do. An engine that is not ready says what its ranks and the head wait for.
void JudgeReadiness(api::EngineStatus* status);

}  // namespace sparkspan::head::cluster
