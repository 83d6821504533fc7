#include "engine/text/argument_writer.h"

#include <algorithm>
#include <utility>

#include "engine/text/json.h"
#include "engine/text/white_space.h"

namespace sparkspan::engine::text {
namespace {

constexpr JsonLimits kValueLimits{.depth_max = 64, .values_max = std::size_t{1} << 20};

std::string_view Trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kWhiteSpaceCharacters);
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(kWhiteSpaceCharacters) - begin + 1);
}

std::optional<JsonValue> Parsed(std::string_view text) {
  std::string why;
  return ParseJson(text, kValueLimits, &why);
}

}  // namespace

void ArgumentWriter::BeginParameter(const Tag& tag, std::string* out) {
  ReleaseWrapper(out);
  if (parameters_ == 0 && MayWrap(*tag.name)) {
    wrapper_ = tag;
    form_ = Form::kWrapper;
    return;
  }
  Begin(tag, out);
}

void ArgumentWriter::AddText(std::string_view text, std::string* out) {
  if (form_ == Form::kString) {
    AppendJsonEscaped(text, out);
  } else {
    value_ += text;
  }
}

void ArgumentWriter::EndParameter(std::string* out) {
  if (form_ == Form::kWrapper) {
    form_ = Form::kNone;
  } else {
    End(out);
  }
}

void ArgumentWriter::Finish(std::string* out) {
  if (const std::optional<std::string_view> object = Unwrapped()) {
    *out += *object;
    return;
  }
  ReleaseWrapper(out);
  *out += parameters_ == 0 ? "{}" : "}";
}

ArgumentWriter::Form ArgumentWriter::FormOf(const Tag& tag) const {
  if (tag.string == "true" || tag.string == "false") {
    return tag.string == "true" ? Form::kString : Form::kJson;
  }
  if (schema_ != nullptr) {
    const auto property = schema_->is_string.find(*tag.name);
    if (property != schema_->is_string.end() && property->second) {
      return Form::kString;
    }
  }
  return Form::kJson;
}

void ArgumentWriter::Begin(const Tag& tag, std::string* out) {
  form_ = FormOf(tag);
  *out += parameters_++ == 0 ? "{" : ", ";
  AppendJsonString(*tag.name, out);
  *out += form_ == Form::kString ? ": \"" : ": ";
}

void ArgumentWriter::End(std::string* out) {
  if (form_ == Form::kString) {
    *out += '"';
  } else if (const std::string_view json = Trimmed(value_); Parsed(json).has_value()) {
    *out += json;
  } else {
    AppendJsonString(value_, out);
  }
  value_.clear();
  form_ = Form::kNone;
}

bool ArgumentWriter::MayWrap(std::string_view key) const {
  return (key == "arguments" || key == "input") && schema_ != nullptr &&
         !schema_->is_string.contains(key);
}

std::optional<std::string_view> ArgumentWriter::Unwrapped() const {
  if (!wrapper_.has_value()) {
    return std::nullopt;
  }
  const std::string_view text = Trimmed(value_);
  const std::optional<JsonValue> value = Parsed(text);
  if (!value.has_value() || value->object() == nullptr ||
      !std::all_of(value->object()->begin(), value->object()->end(), [&](const auto& member) {
        return schema_->is_string.contains(member.first);
      })) {
    return std::nullopt;
  }
  return text;
}

void ArgumentWriter::ReleaseWrapper(std::string* out) {
  if (!wrapper_.has_value()) {
    return;
  }
  const std::string text = std::exchange(value_, std::string());
  Begin(*wrapper_, out);
  AddText(text, out);
  End(out);
  wrapper_.reset();
}

}  // namespace sparkspan::engine::text
