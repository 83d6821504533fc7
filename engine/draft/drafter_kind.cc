#include "engine/draft/drafter.h"

namespace sparkspan::engine::draft {

std::string_view ToString(DrafterKind kind) {
  switch (kind) {
    case DrafterKind::kNone:
      return "none";
    case DrafterKind::kDspark:
      return "dspark";
    case DrafterKind::kMtp:
      return "mtp";
  }
  return "none";
}

}  // namespace sparkspan::engine::draft
