#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/text/tag_scanner.h"
#include "engine/text/tool_schema.h"

namespace sparkspan::engine::text {

// Writes the arguments of one call as JSON text, in pieces that are final: {"k": v, "k2": v2}.
// String values go out as they come; other values once they are whole, as written, since their
// spelling matters (large integers), or as strings when they are no JSON.
class ArgumentWriter {
 public:
  // `schema` may be null: not known. It must outlive the writer.
  explicit ArgumentWriter(const ToolSchema* schema) : schema_(schema) {}

  // Each appends to *out what is certain.
  void BeginParameter(const Tag& tag, std::string* out);
  void AddText(std::string_view text, std::string* out);
  void EndParameter(std::string* out);
  void Finish(std::string* out);

  bool is_open() const { return form_ != Form::kNone; }

 private:
  enum class Form {
    kNone,     // between parameters
    kString,   // sent as it comes
    kJson,     // kept until it is whole
    kWrapper,  // kept until the next tag says whether it is all there is
  };

  Form FormOf(const Tag& tag) const;
  void Begin(const Tag& tag, std::string* out);
  void End(std::string* out);
  // Models sometimes wrap all arguments as one parameter that the function does not have.
  bool MayWrap(std::string_view key) const;
  std::optional<std::string_view> Unwrapped() const;
  void ReleaseWrapper(std::string* out);

  const ToolSchema* schema_;
  Form form_ = Form::kNone;
  std::string value_;
  std::int64_t parameters_ = 0;  // Begun and written.
  std::optional<Tag> wrapper_;   // Complete or being read; its text is in value_.
};

}  // namespace sparkspan::engine::text
