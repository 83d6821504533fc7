#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/config/yaml_tree.h"
#include "engine/fabric/address.h"

namespace sparkspan::engine::config {

// The first fault of a file, and the line of every key that was read, so that checks of whole
// values can name it.
class YamlFaults {
 public:
  explicit YamlFaults(std::string_view file) : file_(file) {}

  // Keeps the first only: "file:line: key: what".
  void Fail(int line, const std::string& key, const std::string& what);

  // Fails in the line of `key` or of the nearest key around it.
  void FailAt(const std::string& key, const std::string& what);

  void Remember(const std::string& key, int line) { lines_.emplace(key, line); }

  const absl::Status& status() const { return status_; }

 private:
  const std::string file_;
  absl::Status status_;
  std::map<std::string, int> lines_;
};

// Reads the values of one map by key and type. Faults go to YamlFaults; after one, what is returned
// means nothing. Construction refuses every key but `known`, naming the nearest of them.
class YamlReader {
 public:
  // `node` and `faults` must outlive the reader. `path` is the map's own key; empty for the root.
  YamlReader(YamlFaults& faults,
             const YamlNode& node,
             std::string path,
             std::span<const std::string_view> known);

  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  std::string Path(std::string_view key) const;

  // Each without a default fails when the key is absent.
  std::string Text(std::string_view key);
  std::string Text(std::string_view key, std::string fallback);
  bool Flag(std::string_view key, bool fallback);
  std::int64_t Integer(std::string_view key, std::int64_t min, std::int64_t max);
  std::int64_t Integer(std::string_view key,
                       std::int64_t min,
                       std::int64_t max,
                       std::int64_t fallback);
  // A number of bytes, or a number with KiB, MiB, GiB or TiB.
  std::int64_t Bytes(std::string_view key, std::int64_t fallback);
  fabric::Ipv4Address Address(std::string_view key);

  // One of `choices` by its spelling; the first is the default.
  template <typename Value>
  Value Choice(std::string_view key, std::initializer_list<Value> choices);

  // A list of 1 to `count_max` texts.
  std::vector<std::string> Texts(std::string_view key, std::size_t count_max);

  // Calls item(node, key) for each value of a list of at most `count_max`; nothing when absent.
  void ForEach(std::string_view key,
               std::size_t count_max,
               const std::function<void(const YamlNode&, const std::string&)>& item);

  // Calls entry(name, node, key) for each value of a map; nothing when absent.
  void ForEachEntry(
      std::string_view key,
      const std::function<void(const std::string&, const YamlNode&, const std::string&)>& entry);

  // The value of a key that must be there; null after a fault.
  const YamlNode* Required(std::string_view key);
  const YamlNode* Find(std::string_view key) const;

  void Fail(std::string_view key, const YamlNode& node, std::string_view expected);

 private:
  std::string ChooseText(std::string_view key, std::span<const std::string> spellings);

  YamlFaults& faults_;
  const YamlNode& node_;
  const std::string path_;
};

// "text 'abc'", "a list": what a value is, for faults.
std::string Describe(const YamlNode& node);

// A choice between texts spells itself.
constexpr std::string_view ToString(std::string_view text) {
  return text;
}

template <typename Value>
Value YamlReader::Choice(std::string_view key, std::initializer_list<Value> choices) {
  std::vector<std::string> spellings;
  for (const Value choice : choices) {
    spellings.emplace_back(ToString(choice));
  }
  const std::string chosen = ChooseText(key, spellings);
  for (const Value choice : choices) {
    if (ToString(choice) == chosen) {
      return choice;
    }
  }
  return *choices.begin();
}

}  // namespace sparkspan::engine::config
