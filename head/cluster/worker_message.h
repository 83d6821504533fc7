#pragma once

#include <chrono>

#include "head/cluster/link_events.h"

namespace sparkspan::v1 {
class WorkerMessage;
}  // namespace sparkspan::v1

namespace sparkspan::head::cluster {

// A worker's message as plain values. Everything in it was written by another process: texts are
// cut and cleaned, and what makes no sense becomes the end of the stream (LinkEnd), with the field
// and its value. `asked` is when the hello was sent, `now` the present: the worker read its clock,
// which its identity holds, about half way between the two.
WorkerMessage DecodeWorkerMessage(const v1::WorkerMessage& message,
                                  std::chrono::system_clock::time_point asked,
                                  std::chrono::system_clock::time_point now);

}  // namespace sparkspan::head::cluster
