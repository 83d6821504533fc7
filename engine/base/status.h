#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expression` (an absl::Status) is not OK.
#define RETURN_IF_ERROR(expression)                \
  do {                                             \
    absl::Status sparkspan_status_ = (expression); \
    if (!sparkspan_status_.ok()) {                 \
      return sparkspan_status_;                    \
    }                                              \
  } while (false)

#define SPARKSPAN_CONCAT_INNER(a, b) a##b
#define SPARKSPAN_CONCAT(a, b) SPARKSPAN_CONCAT_INNER(a, b)
#define SPARKSPAN_ASSIGN_OR_RETURN_IMPL(statusor, target, expression) \
  auto statusor = (expression);                                       \
  if (!statusor.ok()) {                                               \
    return std::move(statusor).status();                              \
  }                                                                   \
  target = *std::move(statusor)

// ASSIGN_OR_RETURN(auto x, F()): binds the value of a StatusOr or returns its status.
#define ASSIGN_OR_RETURN(target, expression) \
  SPARKSPAN_ASSIGN_OR_RETURN_IMPL(           \
      SPARKSPAN_CONCAT(sparkspan_statusor_, __LINE__), target, expression)
