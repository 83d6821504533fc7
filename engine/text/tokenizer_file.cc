#include "engine/text/tokenizer_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/text/byte_alphabet.h"
#include "engine/text/json.h"

namespace sparkspan::engine::text {
namespace {

constexpr std::int64_t kVocabularyMax = std::int64_t{1} << 24;
constexpr JsonLimits kLimits{.depth_max = 32, .values_max = std::size_t{1} << 24};

absl::Status Malformed(std::string_view where, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrFormat("%s %s", where, what));
}

absl::Status Unsupported(std::string_view where, std::string_view value) {
  return absl::UnimplementedError(
      absl::StrFormat("%s is %s, which is not supported", where, value.substr(0, 80)));
}

bool IsFalse(const JsonValue* value) {
  return value == nullptr || (value->boolean() != nullptr && !*value->boolean());
}

bool IsTrue(const JsonValue* value) {
  return value != nullptr && value->boolean() != nullptr && *value->boolean();
}

bool IsString(const JsonValue* value, std::string_view text) {
  return value != nullptr && value->string() != nullptr && *value->string() == text;
}

// Refuses members that this reader does not know: they may change tokens.
absl::Status CheckMembers(const JsonValue& object,
                          std::string_view where,
                          std::initializer_list<std::string_view> known) {
  if (object.object() == nullptr) {
    return Malformed(where, "must be an object");
  }
  for (const auto& [name, value] : *object.object()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return absl::UnimplementedError(
          absl::StrFormat("%s has a member %s, which is not supported", where, name));
    }
  }
  return absl::OkStatus();
}

// Refuses members that are there and neither null nor false.
absl::Status CheckOff(const JsonValue& object,
                      std::string_view where,
                      std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    const JsonValue* value = object.Find(name);
    if (!IsFalse(value)) {
      return Unsupported(absl::StrFormat("%s.%s", where, name), value->ToText());
    }
  }
  return absl::OkStatus();
}

// ---- Added tokens and the vocabulary. ----

class Vocabulary {
 public:
  absl::Status Read(const JsonValue& model) {
    const JsonValue* vocab = model.Find("vocab");
    if (vocab == nullptr || vocab->object() == nullptr) {
      return Malformed("model.vocab", "must be an object of token texts and ids");
    }
    for (const auto& [symbols, value] : *vocab->object()) {
      const std::string where = absl::StrFormat("model.vocab: '%s'", symbols);
      ASSIGN_OR_RETURN(const Token id, IdOf(value, where));
      std::optional<std::string> bytes = BytesOfSymbols(symbols);
      RETURN_IF_ERROR(Place(id, where));
      // Only an added token may hold other characters; Finish checks that.
      entries_[static_cast<std::size_t>(id)] = {bytes.value_or(""), false, false};
      undecoded_ += bytes.has_value() ? 0 : 1;
      ids_[symbols] = id;
    }
    return absl::OkStatus();
  }

  absl::Status ReadAdded(const JsonValue* list,
                         AddedTokenMatcher* first_pass,
                         AddedTokenMatcher* second_pass) {
    if (list != nullptr && list->array() == nullptr) {
      return Malformed("added_tokens", "must be a list");
    }
    for (std::size_t i = 0; list != nullptr && i < list->array()->size(); ++i) {
      const std::string where = absl::StrFormat("added_tokens[%d]", i);
      const JsonValue& token = (*list->array())[i];
      RETURN_IF_ERROR(CheckMembers(
          token,
          where,
          {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
      RETURN_IF_ERROR(CheckOff(token, where, {"single_word", "lstrip", "rstrip"}));
      const JsonValue* content = token.Find("content");
      if (content == nullptr || content->string() == nullptr || content->string()->empty()) {
        return Malformed(where, "needs a content, a string that is not empty");
      }
      const JsonValue* id_value = token.Find("id");
      ASSIGN_OR_RETURN(const Token id, IdOf(id_value != nullptr ? *id_value : token, where));
      const auto known = ids_.find(*content->string());
      if (known != ids_.end() && known->second != id) {
        return Malformed(
            where,
            absl::StrFormat("gives %s the id %d, but it has %d", known->first, id, known->second));
      }
      if (known == ids_.end()) {
        RETURN_IF_ERROR(Place(id, where));
        ids_[*content->string()] = id;
      } else {
        undecoded_ -= BytesOfSymbols(*content->string()).has_value() ? 0 : 1;
      }
      if (entries_[static_cast<std::size_t>(id)].added) {
        return Malformed(where, absl::StrFormat("repeats the id %d", id));
      }
      entries_[static_cast<std::size_t>(id)] = {
          *content->string(), true, IsTrue(token.Find("special"))};
      (IsTrue(token.Find("normalized")) ? second_pass : first_pass)->Add(*content->string(), id);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<TokenEntry>> Finish() {
    const auto gap = std::find(placed_.begin(), placed_.end(), false);
    if (gap != placed_.end()) {
      return Malformed("model.vocab and added_tokens",
                       absl::StrFormat("leave out the id %d", gap - placed_.begin()));
    }
    if (undecoded_ != 0) {
      return Malformed("model.vocab",
                       absl::StrFormat("has %d tokens that are neither made of the characters of "
                                       "byte-level BPE nor among added_tokens",
                                       undecoded_));
    }
    return std::move(entries_);
  }

  std::optional<Token> Find(const std::string& symbols) const {
    const auto found = ids_.find(symbols);
    return found != ids_.end() ? std::optional(found->second) : std::nullopt;
  }

 private:
  static absl::StatusOr<Token> IdOf(const JsonValue& value, std::string_view where) {
    const std::optional<std::int64_t> id = value.AsInteger();
    if (!id.has_value() || *id < 0 || *id >= kVocabularyMax) {
      return Malformed(where, absl::StrFormat("needs an id from 0 to %d", kVocabularyMax - 1));
    }
    return static_cast<Token>(*id);
  }

  absl::Status Place(Token id, std::string_view where) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= placed_.size()) {
      placed_.resize(index + 1, false);
      entries_.resize(index + 1);
    }
    if (placed_[index]) {
      return Malformed(where, absl::StrFormat("has the id %d, which another token has", id));
    }
    placed_[index] = true;
    return absl::OkStatus();
  }

  std::unordered_map<std::string, Token> ids_;
  std::vector<TokenEntry> entries_;
  std::vector<bool> placed_;
  std::int64_t undecoded_ = 0;
};

// ---- The model: merges over the vocabulary. ----

// A merge is "left right", or, in newer files, ["left", "right"].
std::optional<std::pair<std::string, std::string>> ReadMerge(const JsonValue& value) {
  if (const std::string* text = value.string()) {
    const std::size_t space = text->find(' ');
    if (space == std::string::npos || text->find(' ', space + 1) != std::string::npos) {
      return std::nullopt;
    }
    return std::pair(text->substr(0, space), text->substr(space + 1));
  }
  const JsonValue::Array* pair = value.array();
  if (pair == nullptr || pair->size() != 2 || (*pair)[0].string() == nullptr ||
      (*pair)[1].string() == nullptr) {
    return std::nullopt;
  }
  return std::pair(*(*pair)[0].string(), *(*pair)[1].string());
}

absl::StatusOr<Bpe> ReadBpe(const JsonValue& model, const Vocabulary& vocabulary) {
  std::vector<Token> byte_tokens;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string symbol = SymbolOfByte(static_cast<unsigned char>(byte));
    const std::optional<Token> token = vocabulary.Find(symbol);
    if (!token.has_value()) {
      return Malformed("model.vocab",
                       absl::StrFormat("lacks %s, the symbol of byte 0x%02X", symbol, byte));
    }
    byte_tokens.push_back(*token);
  }
  const JsonValue* list = model.Find("merges");
  if (list == nullptr || list->array() == nullptr) {
    return Malformed("model.merges", "must be a list");
  }
  std::vector<Bpe::Merge> merges;
  merges.reserve(list->array()->size());
  for (const JsonValue& value : *list->array()) {
    const std::string where = absl::StrFormat("model.merges[%d]", merges.size());
    const auto pair = ReadMerge(value);
    if (!pair.has_value()) {
      return Malformed(where, "must be two symbols");
    }
    const std::optional<Token> left = vocabulary.Find(pair->first);
    const std::optional<Token> right = vocabulary.Find(pair->second);
    const std::optional<Token> merged = vocabulary.Find(pair->first + pair->second);
    if (!left.has_value() || !right.has_value() || !merged.has_value()) {
      return Malformed(where,
                       absl::StrFormat("merges '%s' and '%s', but they or what they make are not "
                                       "in model.vocab",
                                       pair->first,
                                       pair->second));
    }
    merges.push_back({*left, *right, *merged});
  }
  return Bpe(std::move(byte_tokens), merges);
}

absl::Status CheckModel(const JsonValue& model) {
  RETURN_IF_ERROR(CheckMembers(model,
                               "model",
                               {"type",
                                "dropout",
                                "unk_token",
                                "continuing_subword_prefix",
                                "end_of_word_suffix",
                                "fuse_unk",
                                "byte_fallback",
                                "ignore_merges",
                                "vocab",
                                "merges"}));
  const JsonValue* type = model.Find("type");
  if (!IsString(type, "BPE")) {
    return Unsupported("model.type", type != nullptr ? type->ToText() : "absent");
  }
  return CheckOff(model,
                  "model",
                  {"dropout",
                   "unk_token",
                   "continuing_subword_prefix",
                   "end_of_word_suffix",
                   "fuse_unk",
                   "byte_fallback",
                   "ignore_merges"});
}

// ---- What comes before and after the model. ----

absl::Status ReadByteLevel(const JsonValue& step, std::string_view where) {
  RETURN_IF_ERROR(
      CheckMembers(step, where, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  // Absent means true for both.
  for (const std::string_view name : {"add_prefix_space", "use_regex"}) {
    if (step.Find(name) == nullptr || !IsFalse(step.Find(name))) {
      return Unsupported(absl::StrFormat("%s.%s", where, name), "true");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<const SplitPattern>> ReadSplit(const JsonValue& step,
                                                              const std::string& where) {
  RETURN_IF_ERROR(CheckMembers(step, where, {"type", "pattern", "behavior", "invert"}));
  RETURN_IF_ERROR(CheckOff(step, where, {"invert"}));
  const JsonValue* behavior = step.Find("behavior");
  if (!IsString(behavior, "Isolated")) {
    return Unsupported(where + ".behavior", behavior != nullptr ? behavior->ToText() : "absent");
  }
  const JsonValue* pattern = step.Find("pattern");
  const JsonValue* regex = pattern != nullptr ? pattern->Find("Regex") : nullptr;
  if (regex == nullptr || regex->string() == nullptr) {
    return Unsupported(where + ".pattern", pattern != nullptr ? pattern->ToText() : "absent");
  }
  return SplitPattern::Compile(*regex->string());
}

absl::StatusOr<std::vector<std::unique_ptr<const SplitPattern>>> ReadPreTokenizer(
    const JsonValue* root) {
  std::vector<std::unique_ptr<const SplitPattern>> splits;
  const JsonValue none;
  const JsonValue& step = root != nullptr ? *root : none;
  const JsonValue* list = step.Find("pretokenizers");
  const bool is_sequence = IsString(step.Find("type"), "Sequence");
  if (is_sequence && (list == nullptr || list->array() == nullptr || list->array()->empty())) {
    return Malformed("pre_tokenizer.pretokenizers", "must be a list of steps");
  }
  const std::size_t count = is_sequence ? list->array()->size() : 1;
  for (std::size_t i = 0; i < count; ++i) {
    const JsonValue& part = is_sequence ? (*list->array())[i] : step;
    const std::string where =
        is_sequence ? absl::StrFormat("pre_tokenizer.pretokenizers[%d]", i) : "pre_tokenizer";
    const bool is_last = i + 1 == count;
    if (IsString(part.Find("type"), is_last ? "ByteLevel" : "Split")) {
      if (is_last) {
        RETURN_IF_ERROR(ReadByteLevel(part, where));
      } else {
        ASSIGN_OR_RETURN(splits.emplace_back(), ReadSplit(part, where));
      }
      continue;
    }
    const JsonValue* type = part.Find("type");
    return Unsupported(where + (is_last ? ".type at the end" : ".type before the end"),
                       type != nullptr ? type->ToText() : "absent");
  }
  return splits;
}

absl::Status CheckSurroundings(const JsonValue& root) {
  RETURN_IF_ERROR(CheckMembers(root,
                               "tokenizer.json",
                               {"version",
                                "truncation",
                                "padding",
                                "added_tokens",
                                "normalizer",
                                "pre_tokenizer",
                                "post_processor",
                                "decoder",
                                "model"}));
  RETURN_IF_ERROR(CheckOff(root, "tokenizer.json", {"truncation", "padding"}));
  if (const JsonValue* normalizer = root.Find("normalizer")) {
    const JsonValue* steps = normalizer->Find("normalizers");
    if (!IsString(normalizer->Find("type"), "Sequence") || steps == nullptr ||
        steps->array() == nullptr || !steps->array()->empty()) {
      return Unsupported("normalizer", normalizer->ToText());
    }
  }
  const JsonValue* processor = root.Find("post_processor");
  if (processor != nullptr && !IsString(processor->Find("type"), "ByteLevel")) {
    return Unsupported("post_processor", processor->ToText());
  }
  const JsonValue* decoder = root.Find("decoder");
  if (decoder == nullptr || !IsString(decoder->Find("type"), "ByteLevel")) {
    return Unsupported("decoder", decoder != nullptr ? decoder->ToText() : "absent");
  }
  return absl::OkStatus();
}

absl::Status CheckConfig(std::string_view config_json) {
  if (config_json.empty()) {
    return absl::OkStatus();
  }
  std::string why;
  const std::optional<JsonValue> config = ParseJson(config_json, kLimits, &why);
  if (!config.has_value() || config->object() == nullptr) {
    return Malformed("tokenizer_config.json is no JSON object:", why);
  }
  // A prompt spells its special tokens; a second beginning would not be what the model learned.
  return CheckOff(*config, "tokenizer_config.json", {"add_bos_token", "add_eos_token"});
}

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(stream)), {});
  if (!stream.is_open() || stream.bad()) {
    return absl::NotFoundError(absl::StrFormat("cannot read %s", path.string()));
  }
  return text;
}

}  // namespace

absl::StatusOr<Tokenizer::Parts> ReadTokenizerParts(std::string_view tokenizer_json,
                                                    std::string_view config_json) {
  RETURN_IF_ERROR(CheckConfig(config_json));
  std::string why;
  const std::optional<JsonValue> root = ParseJson(tokenizer_json, kLimits, &why);
  if (!root.has_value()) {
    return Malformed("tokenizer.json:", why);
  }
  RETURN_IF_ERROR(CheckSurroundings(*root));
  const JsonValue* model = root->Find("model");
  if (model == nullptr) {
    return Malformed("tokenizer.json", "has no model");
  }
  RETURN_IF_ERROR(CheckModel(*model));
  Vocabulary vocabulary;
  AddedTokenMatcher first_pass;
  AddedTokenMatcher second_pass;
  RETURN_IF_ERROR(vocabulary.Read(*model));
  ASSIGN_OR_RETURN(Bpe bpe, ReadBpe(*model, vocabulary));
  RETURN_IF_ERROR(vocabulary.ReadAdded(root->Find("added_tokens"), &first_pass, &second_pass));
  ASSIGN_OR_RETURN(auto splits, ReadPreTokenizer(root->Find("pre_tokenizer")));
  ASSIGN_OR_RETURN(auto entries, vocabulary.Finish());
  return Tokenizer::Parts{.entries = std::move(entries),
                          .first_pass = std::move(first_pass),
                          .second_pass = std::move(second_pass),
                          .splits = std::move(splits),
                          .bpe = std::move(bpe)};
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::Parse(std::string_view tokenizer_json,
                                                                  std::string_view config_json) {
  ASSIGN_OR_RETURN(Parts parts, ReadTokenizerParts(tokenizer_json, config_json));
  return std::make_shared<const Tokenizer>(std::move(parts));
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::Load(const std::string& folder) {
  const std::filesystem::path path(folder);
  ASSIGN_OR_RETURN(const std::string json, ReadFile(path / "tokenizer.json"));
  std::string config;
  if (std::filesystem::exists(path / "tokenizer_config.json")) {
    ASSIGN_OR_RETURN(config, ReadFile(path / "tokenizer_config.json"));
  }
  absl::StatusOr<std::shared_ptr<const Tokenizer>> tokenizer = Parse(json, config);
  if (!tokenizer.ok()) {
    return absl::Status(tokenizer.status().code(),
                        absl::StrFormat("%s: %s", folder, tokenizer.status().message()));
  }
  return tokenizer;
}

}  // namespace sparkspan::engine::text
