#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"

namespace sparkspan::deploy::cli {

// One case of a file {"cases": [{"name": "a", KEY: [...], KEY: N, ...}, ...]}. Values that are
// neither token lists nor whole numbers of at least 1 are nobody's: reading them says so.
struct CaseEntry {
  std::string where;  // begins messages: "cases.json: case 3"
  std::string name;   // no other case of the file has it
  std::set<std::string> keys;
  std::map<std::string, std::vector<engine::Token>> token_lists;
  std::map<std::string, std::int64_t> counts;

  // InvalidArgument when there is no such value, or it is of another kind.
  absl::StatusOr<std::vector<engine::Token>> Tokens(const std::string& key) const;
  absl::StatusOr<std::int64_t> Count(const std::string& key) const;
};

// At most 10,000 cases.
absl::StatusOr<std::vector<CaseEntry>> ReadCaseFile(const std::string& file);

}  // namespace sparkspan::deploy::cli
