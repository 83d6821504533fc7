#pragma once

#include "head/api/generation.h"
#include "head/status/prometheus_text.h"

namespace sparkspan::head::status {

// What the declared interfaces and the proven connections of all ranks and of the head carried:
// sparkspan_interface_* by rank ("head" for its own), node, interface and plane;
// sparkspan_connection_* by rank, plane, peer and interface. Ranks of one node share interfaces,
// and each reports them.
void WriteInterfaces(PrometheusText* page, const api::EngineStatus& engine);

}  // namespace sparkspan::head::status
