#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

namespace sparkspan::engine::text {

// What the reader of a call must know of the function's parameters.
struct ToolSchema {
  std::map<std::string, bool, std::less<>> is_string;  // Of each property: of type string?
};

// The functions that a request offers the model.
class OfferedTools {
 public:
  // Every function counts as offered, with a schema that is not known.
  static OfferedTools Any();
  // `functions`: JSON texts of function objects.
  static OfferedTools Of(std::span<const std::string> functions);

  // Calls are read as such; where nothing is offered they are left out.
  bool any() const { return any_ || !schemas_.empty(); }
  // Null when the schema is not known.
  const ToolSchema* Find(std::string_view name) const;

 private:
  bool any_ = false;
  std::map<std::string, ToolSchema, std::less<>> schemas_;
};

}  // namespace sparkspan::engine::text
