#include "engine/text/split_pattern.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace sparkspan::engine::text {
namespace {

// White space as Unicode defines it. PCRE2's own \s also has U+180E, which is none since 6.3.
constexpr std::string_view kWhiteSpace = R"(\t-\r\x{85}\p{Z})";

// A match may take this many steps for each byte of its subject, and some to start with.
constexpr std::size_t kStepsPerByte = 64;
constexpr std::size_t kStepsMin = 10000;
constexpr std::uint32_t kHeapKibMax = 256 * 1024;

bool IsAsciiAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Rewrites an expression from Oniguruma's dialect to PCRE2's. Only what means the same in both, or
// is rewritten to, passes.
class Translation {
 public:
  explicit Translation(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        RETURN_IF_ERROR(Escape());
        continue;
      }
      if (in_class_ && c == '[') {
        return Unsupported("a '[' inside a character class");
      }
      if (in_class_ && pattern_.substr(at_, 2) == "&&") {
        return Unsupported("'&&' inside a character class");
      }
      if (!in_class_ && pattern_.substr(at_, 2) == "(?") {
        RETURN_IF_ERROR(Group());
      }
      if (!in_class_ && pattern_.substr(at_, 2) == "(*") {
        return Unsupported("a verb '(*'");
      }
      if (!in_class_ && (c == '^' || c == '$' || c == '.')) {
        return Unsupported(absl::StrFormat("a bare '%c'", c));
      }
      if (!in_class_ && pattern_.substr(at_, 2) == "}+") {
        return Unsupported("a possessive '}+'");
      }
      // A ']' that comes first is a literal in both dialects, but easily misread: refused.
      if (c == '[' && (pattern_.substr(at_ + 1, 1) == "]" || pattern_.substr(at_ + 1, 2) == "^]")) {
        return Unsupported("a class that begins with ']'");
      }
      in_class_ = c == '[' || (in_class_ && c != ']');
      out_ += c;
      ++at_;
    }
    return std::move(out_);
  }

 private:
  absl::Status Unsupported(std::string_view what) const {
    return absl::UnimplementedError(absl::StrFormat(
        "the pattern %s holds %s at byte %d, which is not supported", pattern_, what, at_));
  }

  absl::Status Group() {
    for (const std::string_view known : {"(?:", "(?=", "(?!"}) {
      if (pattern_.substr(at_).starts_with(known)) {
        return absl::OkStatus();
      }
    }
    return Unsupported("a group other than (?:, (?= and (?!");
  }

  absl::Status Escape() {
    if (at_ + 1 == pattern_.size()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the pattern %s ends in a backslash", pattern_));
    }
    const char letter = pattern_[at_ + 1];
    if (letter == 's') {
      out_ += in_class_ ? std::string(kWhiteSpace) : absl::StrFormat("[%s]", kWhiteSpace);
    } else if (letter == 'S' && !in_class_) {
      out_ += absl::StrFormat("[^%s]", kWhiteSpace);
    } else if (letter == 'p' || letter == 'P') {
      return Property();
    } else if (letter == 'd') {
      out_ += R"(\p{Nd})";
    } else if (letter == 'r' || letter == 'n' || letter == 't' || !IsAsciiAlphanumeric(letter)) {
      out_ += pattern_.substr(at_, 2);
    } else {
      return Unsupported(absl::StrFormat("the escape \\%c", letter));
    }
    at_ += 2;
    return absl::OkStatus();
  }

  // \p{L}, \P{Nd}: general categories have the same short names in both dialects.
  absl::Status Property() {
    const std::size_t close = pattern_.find('}', at_);
    const std::string_view name =
        close == std::string_view::npos ? "" : pattern_.substr(at_ + 2, close - at_ - 2);
    static constexpr std::string_view kCategories = "LMNPSZC";
    const bool known = name.size() >= 2 && name.size() <= 3 && name[0] == '{' &&
                       kCategories.find(name[1]) != std::string_view::npos &&
                       (name.size() == 2 || (name[2] >= 'a' && name[2] <= 'z'));
    if (!known) {
      return Unsupported("a property other than a general category such as \\p{L} or \\p{Nd}");
    }
    out_ += pattern_.substr(at_, close + 1 - at_);
    at_ = close + 1;
    return absl::OkStatus();
  }

  const std::string_view pattern_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_class_ = false;
};

std::string ErrorText(int code) {
  std::array<unsigned char, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

PCRE2_SPTR Bytes(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

struct Freed {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

}  // namespace

struct SplitPattern::Code {
  std::unique_ptr<pcre2_code, Freed> compiled;
};

SplitPattern::SplitPattern(std::string pattern, std::unique_ptr<Code> code)
    : pattern_(std::move(pattern)), code_(std::move(code)) {}

SplitPattern::~SplitPattern() = default;

absl::StatusOr<std::unique_ptr<const SplitPattern>> SplitPattern::Compile(
    std::string_view pattern) {
  ASSIGN_OR_RETURN(const std::string translated, Translation(pattern).Run());
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_unique<Code>();
  code->compiled.reset(pcre2_compile(Bytes(translated),
                                     translated.size(),
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                                     &error,
                                     &offset,
                                     nullptr));
  if (code->compiled == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the pattern %s is no regular expression: %s", pattern, ErrorText(error)));
  }
  std::uint32_t matches_empty = 0;
  pcre2_pattern_info(code->compiled.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the pattern %s may match nothing; every match must hold a character", pattern));
  }
  // Where there is no JIT for this machine, matching is interpreted: slower, the same result.
  pcre2_jit_compile(code->compiled.get(), PCRE2_JIT_COMPLETE);
  return std::unique_ptr<const SplitPattern>(
      new SplitPattern(std::string(pattern), std::move(code)));
}

absl::Status SplitPattern::Split(std::string_view text,
                                 std::vector<std::string_view>* pieces) const {
  const std::unique_ptr<pcre2_match_data, Freed> match(pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, Freed> context(pcre2_match_context_create(nullptr));
  CHECK(match != nullptr && context != nullptr) << "out of memory";
  const std::size_t steps = kStepsMin + std::min<std::size_t>(text.size(), 1 << 25) * kStepsPerByte;
  pcre2_set_match_limit(context.get(), static_cast<std::uint32_t>(steps));
  pcre2_set_heap_limit(context.get(), kHeapKibMax);
  std::size_t at = 0;
  while (at < text.size()) {
    // Checking the subject's UTF-8 again at each match would take quadratic time.
    int found = pcre2_match(code_->compiled.get(),
                            Bytes(text),
                            text.size(),
                            at,
                            PCRE2_NO_UTF_CHECK,
                            match.get(),
                            context.get());
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = pcre2_match(code_->compiled.get(),
                          Bytes(text),
                          text.size(),
                          at,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                          match.get(),
                          context.get());
    }
    if (found == PCRE2_ERROR_NOMATCH) {
      break;
    }
    if (found < 0) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "splitting %d bytes by the pattern %s: %s", text.size(), pattern_, ErrorText(found)));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match.get());
    CHECK(ends[1] > ends[0] && ends[0] >= at) << "an empty match of " << pattern_;
    if (ends[0] > at) {
      pieces->push_back(text.substr(at, ends[0] - at));
    }
    pieces->push_back(text.substr(ends[0], ends[1] - ends[0]));
    at = ends[1];
  }
  if (at < text.size()) {
    pieces->push_back(text.substr(at));
  }
  return absl::OkStatus();
}

}  // namespace sparkspan::engine::text
