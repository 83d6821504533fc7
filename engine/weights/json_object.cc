#include "engine/weights/json_object.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::engine::weights {
namespace {

using nlohmann::json;

constexpr std::uintmax_t kFileBytesMax = std::uintmax_t{64} << 20;
constexpr int kDepthMax = 8;
constexpr std::size_t kFoundCharsMax = 60;

// Parses, and notes what nlohmann's tree would hide or swallow: keys given twice, deep nesting.
json ParseStrictly(std::string_view text, std::string* why) {
  if (text.find('\0') != std::string_view::npos) {
    *why = "has a NUL byte, which JSON does not";  // nlohmann takes it for the end
    return {};
  }
  std::vector<std::set<std::string>> keys(kDepthMax + 2);
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kDepthMax) {
      *why = absl::StrFormat("is nested deeper than %d", kDepthMax);
      return false;
    }
    const auto level = static_cast<std::size_t>(depth);
    if (event == json::parse_event_t::object_start) {
      keys[level + 1].clear();
    } else if (event == json::parse_event_t::key &&
               !keys[level].insert(value.get<std::string>()).second && why->empty()) {
      *why = absl::StrFormat("has the key \"%s\" twice", value.get<std::string>());
    }
    return true;
  };
  return json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
}

}  // namespace

struct JsonObject::Node {
  std::shared_ptr<const json> root;
  const json* object;

  const json* Find(const std::string& key) const {
    const auto found = object->find(key);
    return found == object->end() ? nullptr : &*found;
  }
};

absl::StatusOr<JsonObject> JsonObject::Parse(std::string file, std::string_view text) {
  std::string why;
  auto root = std::make_shared<const json>(ParseStrictly(text, &why));
  if (why.empty() && !root->is_object()) {
    why = "is not a JSON object";
  }
  if (!why.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s %s; expected a JSON object as published: fetch the file again", file, why));
  }
  auto node = std::make_shared<const Node>(Node{root, root.get()});
  return JsonObject(std::move(file), "", std::move(node));
}

absl::StatusOr<JsonObject> JsonObject::Read(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) {
    return absl::NotFoundError(
        absl::StrFormat("%s is missing (%s); a checkpoint folder must hold it: fetch it again",
                        file.string(),
                        error.message()));
  }
  if (size > kFileBytesMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s is %d bytes, expected at most %d: not this file?", file.string(), size, kFileBytesMax));
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text(static_cast<std::size_t>(size), '\0');
  if (!stream.read(text.data(), static_cast<std::streamsize>(size))) {
    return absl::DataLossError(absl::StrFormat("%s cannot be read", file.string()));
  }
  return Parse(file.string(), text);
}

std::vector<std::string> JsonObject::Keys() const {
  std::vector<std::string> keys;
  keys.reserve(node_->object->size());
  for (auto item = node_->object->begin(); item != node_->object->end(); ++item) {
    keys.push_back(item.key());
  }
  return keys;
}

bool JsonObject::Has(const std::string& key) const {
  const json* value = node_->Find(key);
  return value != nullptr && !value->is_null();
}

bool JsonObject::IsInteger(const std::string& key) const {
  const json* value = node_->Find(key);
  return value != nullptr && value->is_number_integer();
}

std::string JsonObject::Found(const std::string& key) const {
  const json* value = node_->Find(key);
  if (value == nullptr) {
    return "absent";
  }
  std::string text = value->dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > kFoundCharsMax) {
    text = text.substr(0, kFoundCharsMax) + "...";
  }
  return text;
}

absl::Status JsonObject::Refuse(const std::string& key,
                                std::string_view expected,
                                std::string_view remedy) const {
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s%s is %s, expected %s%s%s",
                                                    file_,
                                                    path_,
                                                    key,
                                                    Found(key),
                                                    expected,
                                                    remedy.empty() ? "" : "; ",
                                                    remedy));
}

absl::Status JsonObject::Integer(const std::string& key,
                                 std::int64_t low,
                                 std::int64_t high,
                                 std::int64_t* out) const {
  const json* value = node_->Find(key);
  // An unsigned value above 2^63 would come out negative.
  if (value == nullptr || !value->is_number_integer() || value->get<std::int64_t>() < low ||
      value->get<std::int64_t>() > high ||
      (value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX)) {
    return Refuse(key, absl::StrFormat("an integer from %d to %d", low, high));
  }
  *out = value->get<std::int64_t>();
  return absl::OkStatus();
}

absl::Status JsonObject::Number(const std::string& key,
                                double low,
                                double high,
                                double* out) const {
  const json* value = node_->Find(key);
  if (value == nullptr || !value->is_number() || !std::isfinite(value->get<double>()) ||
      value->get<double>() < low || value->get<double>() > high) {
    return Refuse(key, absl::StrFormat("a number from %g to %g", low, high));
  }
  *out = value->get<double>();
  return absl::OkStatus();
}

absl::Status JsonObject::Boolean(const std::string& key, bool* out) const {
  const json* value = node_->Find(key);
  if (value == nullptr || !value->is_boolean()) {
    return Refuse(key, "true or false");
  }
  *out = value->get<bool>();
  return absl::OkStatus();
}

absl::Status JsonObject::Text(const std::string& key, std::string* out) const {
  const json* value = node_->Find(key);
  if (value == nullptr || !value->is_string()) {
    return Refuse(key, "a text");
  }
  *out = value->get<std::string>();
  return absl::OkStatus();
}

absl::Status JsonObject::Texts(const std::string& key,
                               std::size_t count_max,
                               std::vector<std::string>* out) const {
  const json* value = node_->Find(key);
  const std::string expected = absl::StrFormat("a list of at most %d texts", count_max);
  if (value == nullptr || !value->is_array() || value->size() > count_max) {
    return Refuse(key, expected);
  }
  out->clear();
  for (const json& item : *value) {
    if (!item.is_string()) {
      return Refuse(key, expected);
    }
    out->push_back(item.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status JsonObject::Integers(const std::string& key,
                                  std::size_t count_max,
                                  std::int64_t low,
                                  std::int64_t high,
                                  std::vector<std::int64_t>* out) const {
  const json* value = node_->Find(key);
  const std::string expected =
      absl::StrFormat("a list of at most %d integers from %d to %d", count_max, low, high);
  if (value == nullptr || !value->is_array() || value->size() > count_max) {
    return Refuse(key, expected);
  }
  out->clear();
  for (const json& item : *value) {
    if (!item.is_number_integer() || item.get<std::int64_t>() < low ||
        item.get<std::int64_t>() > high ||
        (item.is_number_unsigned() && item.get<std::uint64_t>() > INT64_MAX)) {
      return Refuse(key, expected);
    }
    out->push_back(item.get<std::int64_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<JsonObject> JsonObject::Object(const std::string& key) const {
  const json* value = node_->Find(key);
  if (value == nullptr || !value->is_object()) {
    return Refuse(key, "an object");
  }
  auto node = std::make_shared<const Node>(Node{node_->root, value});
  return JsonObject(file_, path_ + key + ".", std::move(node));
}

}  // namespace sparkspan::engine::weights
