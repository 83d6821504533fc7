#include "head/status/status_page.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::head::status {
namespace {

// 'sha256-BASE64' of what stands between the only <tag> and its end.
std::string HashOf(std::string_view page, std::string_view tag) {
  const std::string opening = absl::StrFormat("<%s>", std::string(tag));
  const std::size_t begin = page.find(opening) + opening.size();
  const std::size_t end = page.find(absl::StrFormat("</%s>", std::string(tag)));
  CHECK(begin < end && end != std::string_view::npos) << "the status page has no " << tag;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(page.data()) + begin, end - begin, digest.data());
  std::array<unsigned char, 4 * (SHA256_DIGEST_LENGTH + 2) / 3 + 1> base64;
  const int bytes = EVP_EncodeBlock(base64.data(), digest.data(), SHA256_DIGEST_LENGTH);
  return "'sha256-" +
         std::string(reinterpret_cast<const char*>(base64.data()),
                     static_cast<std::size_t>(bytes)) +
         "'";
}

}  // namespace

const std::string& StatusPagePolicy() {
  static const std::string policy =
      "default-src 'none'; script-src " + HashOf(StatusPage(), "script") + "; style-src " +
      HashOf(StatusPage(), "style") +
      "; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  return policy;
}

}  // namespace sparkspan::head::status
