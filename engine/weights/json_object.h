#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sparkspan::engine::weights {

// A JSON object of a checkpoint file, read strictly: messages name the file, the field, what was
// found, what was expected and the remedy. A copy shares the parsed text. Thread-safe.
class JsonObject {
 public:
  // `file` is only named in messages. Refuses what is not an object, a key given twice, and nesting
  // deeper than 8.
  static absl::StatusOr<JsonObject> Parse(std::string file, std::string_view text);
  // Reads a file of at most 64 MiB, then parses it.
  static absl::StatusOr<JsonObject> Read(const std::filesystem::path& file);

  const std::string& file() const { return file_; }
  std::vector<std::string> Keys() const;

  // Present and not null.
  bool Has(const std::string& key) const;

  // Reads one field. Absent, null, of another type or out of range is an error.
  absl::Status Integer(const std::string& key,
                       std::int64_t low,
                       std::int64_t high,
                       std::int64_t* out) const;
  // A finite number within [low, high].
  absl::Status Number(const std::string& key, double low, double high, double* out) const;
  absl::Status Boolean(const std::string& key, bool* out) const;
  absl::Status Text(const std::string& key, std::string* out) const;
  absl::Status Texts(const std::string& key,
                     std::size_t count_max,
                     std::vector<std::string>*) const;
  absl::Status Integers(const std::string& key,
                        std::size_t count_max,
                        std::int64_t low,
                        std::int64_t high,
                        std::vector<std::int64_t>* out) const;
  absl::StatusOr<JsonObject> Object(const std::string& key) const;

  // The field is an integer, and not an array or a text.
  bool IsInteger(const std::string& key) const;

  // What stands in the field, shortened, or "absent".
  std::string Found(const std::string& key) const;

  // "FILE: FIELD is FOUND, expected EXPECTED; REMEDY" as an InvalidArgument error.
  absl::Status Refuse(const std::string& key,
                      std::string_view expected,
                      std::string_view remedy = "") const;

 private:
  struct Node;

  JsonObject(std::string file, std::string path, std::shared_ptr<const Node> node)
      : file_(std::move(file)), path_(std::move(path)), node_(std::move(node)) {}

  std::string file_;
  std::string path_;  // "rope_scaling." inside a nested object
  std::shared_ptr<const Node> node_;
};

}  // namespace sparkspan::engine::weights
