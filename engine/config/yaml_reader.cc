#include "engine/config/yaml_reader.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <system_error>

#include "absl/strings/str_format.h"
#include "engine/base/control_characters.h"

namespace sparkspan::engine::config {
namespace {

constexpr std::size_t kTextBytesMax = 4096;

// Edits between two words: insertions, deletions and replacements of a byte.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// The known word that `word` most likely means; empty when none is near.
std::string_view Nearest(std::string_view word, std::span<const std::string_view> known) {
  constexpr std::size_t kWordBytesMax = 64;
  if (word.size() > kWordBytesMax) {
    return "";
  }
  std::string_view nearest;
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string_view candidate : known) {
    const std::size_t distance = EditDistance(word, candidate);
    if (distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string Join(std::span<const std::string_view> words) {
  std::string text;
  for (const std::string_view word : words) {
    text += (text.empty() ? "" : ", ") + std::string(word);
  }
  return text;
}

// Decimal digits with an optional minus, the whole of `text`.
std::optional<std::int64_t> ToInteger(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::int64_t> ToBytes(std::string_view text) {
  int shift = 0;
  for (const auto& [unit, bits] :
       {std::pair<std::string_view, int>{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}}) {
    if (text.ends_with(unit)) {
      text.remove_suffix(unit.size());
      shift = bits;
    }
  }
  while (text.ends_with(' ')) {
    text.remove_suffix(1);
  }
  const std::optional<std::int64_t> count = ToInteger(text);
  if (!count.has_value() || *count < 0 || *count > (std::int64_t{1} << 50) >> shift) {
    return std::nullopt;
  }
  return *count << shift;
}

// Not empty, of one line and without control characters, so that it can stand in any message.
bool IsText(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar && !node.scalar.empty() &&
         node.scalar.size() <= kTextBytesMax && !HasControlCharacters(node.scalar);
}

}  // namespace

std::string Describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  constexpr std::size_t kShownBytes = 60;
  return node.scalar.size() <= kShownBytes
             ? absl::StrFormat("'%s'", node.scalar)
             : absl::StrFormat("'%s...'", node.scalar.substr(0, kShownBytes));
}

void YamlFaults::Fail(int line, const std::string& key, const std::string& what) {
  if (status_.ok()) {
    status_ = absl::InvalidArgumentError(
        key.empty() ? absl::StrFormat("%s:%d: %s", file_, line, what)
                    : absl::StrFormat("%s:%d: %s: %s", file_, line, key, what));
  }
}

void YamlFaults::FailAt(const std::string& key, const std::string& what) {
  std::string_view around = key;
  int line = 1;
  while (!around.empty()) {
    if (const auto found = lines_.find(std::string(around)); found != lines_.end()) {
      line = found->second;
      break;
    }
    const std::size_t end = around.find_last_of(".[");
    around = around.substr(0, end == std::string_view::npos ? 0 : end);
  }
  Fail(line, key, what);
}

YamlReader::YamlReader(YamlFaults& faults,
                       const YamlNode& node,
                       std::string path,
                       std::span<const std::string_view> known)
    : faults_(faults), node_(node), path_(std::move(path)) {
  if (node.kind != YamlNode::Kind::kMap) {
    faults_.Fail(node.line,
                 path_,
                 absl::StrFormat("found %s; expected a map of %s", Describe(node), Join(known)));
    return;
  }
  faults_.Remember(path_, node.line);
  for (const YamlEntry& entry : node.entries) {
    faults_.Remember(Path(entry.key), entry.line);
    if (std::find(known.begin(), known.end(), entry.key) == known.end()) {
      const std::string_view nearest = Nearest(entry.key, known);
      faults_.Fail(entry.line,
                   Path(entry.key),
                   nearest.empty()
                       ? absl::StrFormat("found an unknown key; known are: %s", Join(known))
                       : absl::StrFormat("found an unknown key; did you mean '%s'?", nearest));
    }
  }
}

std::string YamlReader::Path(std::string_view key) const {
  return path_.empty() ? std::string(key) : absl::StrFormat("%s.%s", path_, key);
}

const YamlNode* YamlReader::Find(std::string_view key) const {
  const auto found = std::find_if(node_.entries.begin(),
                                  node_.entries.end(),
                                  [&](const YamlEntry& entry) { return entry.key == key; });
  return found == node_.entries.end() ? nullptr : &found->value;
}

const YamlNode* YamlReader::Required(std::string_view key) {
  const YamlNode* node = Find(key);
  if (node == nullptr) {
    faults_.Fail(node_.line, Path(key), "found nothing; this key is required");
  }
  return node;
}

void YamlReader::Fail(std::string_view key, const YamlNode& node, std::string_view expected) {
  faults_.Fail(
      node.line, Path(key), absl::StrFormat("found %s; expected %s", Describe(node), expected));
}

std::string YamlReader::Text(std::string_view key) {
  const YamlNode* node = Required(key);
  if (node == nullptr) {
    return "";
  }
  if (!IsText(*node)) {
    Fail(key, *node, "text of one line");
    return "";
  }
  return node->scalar;
}

std::string YamlReader::Text(std::string_view key, std::string fallback) {
  return Has(key) ? Text(key) : std::move(fallback);
}

bool YamlReader::Flag(std::string_view key, bool fallback) {
  const YamlNode* node = Find(key);
  if (node == nullptr) {
    return fallback;
  }
  if (node->kind != YamlNode::Kind::kScalar || node->quoted ||
      (node->scalar != "true" && node->scalar != "false")) {
    Fail(key, *node, "true or false");
  }
  return node->scalar == "true";
}

std::int64_t YamlReader::Integer(std::string_view key, std::int64_t min, std::int64_t max) {
  const YamlNode* node = Required(key);
  if (node == nullptr) {
    return min;
  }
  const std::optional<std::int64_t> value = ToInteger(node->scalar);
  if (node->kind != YamlNode::Kind::kScalar || node->quoted || !value.has_value() || *value < min ||
      *value > max) {
    Fail(key, *node, absl::StrFormat("a whole number from %d to %d", min, max));
    return min;
  }
  return *value;
}

std::int64_t YamlReader::Integer(std::string_view key,
                                 std::int64_t min,
                                 std::int64_t max,
                                 std::int64_t fallback) {
  return Has(key) ? Integer(key, min, max) : fallback;
}

std::int64_t YamlReader::Bytes(std::string_view key, std::int64_t fallback) {
  const YamlNode* node = Find(key);
  if (node == nullptr) {
    return fallback;
  }
  const std::optional<std::int64_t> value = ToBytes(node->scalar);
  if (node->kind != YamlNode::Kind::kScalar || !value.has_value()) {
    Fail(key, *node, "a number of bytes, such as 24GiB or 25769803776");
    return fallback;
  }
  return *value;
}

fabric::Ipv4Address YamlReader::Address(std::string_view key) {
  const YamlNode* node = Required(key);
  if (node == nullptr) {
    return {};
  }
  const absl::StatusOr<fabric::Ipv4Address> address = fabric::ParseIpv4(node->scalar);
  if (node->kind != YamlNode::Kind::kScalar || !address.ok() || address->IsWildcard()) {
    Fail(key, *node, "the IPv4 address of one interface, such as 192.168.177.1");
    return {};
  }
  return *address;
}

std::string YamlReader::ChooseText(std::string_view key, std::span<const std::string> spellings) {
  const YamlNode* node = Find(key);
  if (node == nullptr) {
    return spellings.front();
  }
  if (node->kind != YamlNode::Kind::kScalar ||
      std::find(spellings.begin(), spellings.end(), node->scalar) == spellings.end()) {
    const std::vector<std::string_view> words(spellings.begin(), spellings.end());
    Fail(key, *node, absl::StrFormat("one of: %s", Join(words)));
  }
  return node->scalar;
}

std::vector<std::string> YamlReader::Texts(std::string_view key, std::size_t count_max) {
  const YamlNode* node = Required(key);
  std::vector<std::string> texts;
  if (node == nullptr) {
    return texts;
  }
  if (node->kind != YamlNode::Kind::kSequence || node->items.empty()) {
    Fail(key, *node, "a list of texts");
    return texts;
  }
  ForEach(key, count_max, [&](const YamlNode& item, const std::string& item_key) {
    if (!IsText(item)) {
      faults_.Fail(item.line,
                   item_key,
                   absl::StrFormat("found %s; expected text of one line", Describe(item)));
    }
    texts.push_back(item.scalar);
  });
  return texts;
}

void YamlReader::ForEach(std::string_view key,
                         std::size_t count_max,
                         const std::function<void(const YamlNode&, const std::string&)>& item) {
  const YamlNode* node = Find(key);
  if (node == nullptr) {
    return;
  }
  if (node->kind != YamlNode::Kind::kSequence) {
    Fail(key, *node, "a list");
    return;
  }
  if (node->items.size() > count_max) {
    faults_.Fail(
        node->line,
        Path(key),
        absl::StrFormat("found %d items; expected at most %d", node->items.size(), count_max));
    return;
  }
  for (std::size_t i = 0; i < node->items.size(); ++i) {
    const std::string item_key = absl::StrFormat("%s[%d]", Path(key), i);
    faults_.Remember(item_key, node->items[i].line);
    item(node->items[i], item_key);
  }
}

void YamlReader::ForEachEntry(
    std::string_view key,
    const std::function<void(const std::string&, const YamlNode&, const std::string&)>& entry) {
  const YamlNode* node = Find(key);
  if (node == nullptr) {
    return;
  }
  if (node->kind != YamlNode::Kind::kMap) {
    Fail(key, *node, "a map");
    return;
  }
  for (const YamlEntry& one : node->entries) {
    const std::string entry_key = absl::StrFormat("%s.%s", Path(key), one.key);
    faults_.Remember(entry_key, one.line);
    entry(one.key, one.value, entry_key);
  }
}

}  // namespace sparkspan::engine::config
