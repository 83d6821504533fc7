#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace sparkspan::engine::config {

struct YamlEntry;

// One value of a YAML document. Entries keep the order of the file.
struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };

  Kind kind = Kind::kNull;
  int line = 0;         // Counts from 1.
  bool quoted = false;  // Of a scalar: then it is text, whatever it looks like.
  std::string scalar;
  std::vector<YamlNode> items;     // Of a sequence.
  std::vector<YamlEntry> entries;  // Of a map; no key occurs twice.
};

struct YamlEntry {
  std::string key;
  int line = 0;
  YamlNode value;
};

inline constexpr std::size_t kYamlBytesMax = std::size_t{256} << 10;
inline constexpr std::size_t kYamlDepthMax = 16;
inline constexpr std::size_t kYamlEntriesMax = 256;  // of one map

// The only document of `text`. A configuration is data and no program: anchors, aliases and tags
// are refused, as are duplicate keys and whatever exceeds the limits above. Errors begin with
// "file:line: ".
absl::StatusOr<YamlNode> ParseYaml(std::string_view text, std::string_view file);

}  // namespace sparkspan::engine::config
