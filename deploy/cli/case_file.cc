#include "deploy/cli/case_file.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"

namespace sparkspan::deploy::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kCasesMax = 10000;

bool IsToken(const json& value) {
  return value.is_number_integer() && value.get<std::int64_t>() >= 0 &&
         value.get<std::int64_t>() <= std::numeric_limits<engine::Token>::max();
}

CaseEntry ReadEntry(const json& entry, const std::string& where) {
  CaseEntry result{where, entry["name"].get<std::string>(), {}, {}, {}};
  for (const auto& [key, value] : entry.items()) {
    result.keys.insert(key);
    if (value.is_array() && std::all_of(value.begin(), value.end(), IsToken)) {
      result.token_lists.emplace(key, value.get<std::vector<engine::Token>>());
    } else if (value.is_number_integer() && value.get<std::int64_t>() >= 1) {
      result.counts.emplace(key, value.get<std::int64_t>());
    }
  }
  return result;
}

}  // namespace

absl::StatusOr<std::vector<engine::Token>> CaseEntry::Tokens(const std::string& key) const {
  const auto found = token_lists.find(key);
  if (found == token_lists.end()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: `%s` must be a list of token ids", where, key));
  }
  return found->second;
}

absl::StatusOr<std::int64_t> CaseEntry::Count(const std::string& key) const {
  const auto found = counts.find(key);
  if (found == counts.end()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: `%s` must be a whole number of at least 1", where, key));
  }
  return found->second;
}

absl::StatusOr<std::vector<CaseEntry>> ReadCaseFile(const std::string& file) {
  std::ifstream stream(file);
  const json parsed = json::parse(stream, nullptr, /*allow_exceptions=*/false);
  const auto cases = parsed.is_object() ? parsed.find("cases") : parsed.end();
  if (!parsed.is_object() || cases == parsed.end() || !cases->is_array() ||
      cases->size() > kCasesMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: must be a readable JSON object with a list `cases` of at most %d", file, kCasesMax));
  }
  std::vector<CaseEntry> entries;
  std::set<std::string> names;
  for (const json& entry : *cases) {
    const std::string where = absl::StrFormat("%s: case %d", file, entries.size());
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
        !names.insert(entry["name"].get<std::string>()).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: needs a `name` that no other case has", where));
    }
    entries.push_back(ReadEntry(entry, where));
  }
  return entries;
}

}  // namespace sparkspan::deploy::cli
