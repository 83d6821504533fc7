#include "head/http/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cctype>

namespace sparkspan::head::http {
namespace {

std::array<std::uint8_t, 32> DigestOf(std::string_view key) {
  std::array<std::uint8_t, 32> digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

// What stands after "Bearer ", in any case; empty for another scheme.
std::string_view BearerToken(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  const bool is_bearer =
      authorization.size() > kScheme.size() &&
      std::equal(kScheme.begin(), kScheme.end(), authorization.begin(), [](char a, char b) {
        return a == std::tolower(static_cast<unsigned char>(b));
      });
  if (!is_bearer) {
    return {};
  }
  authorization.remove_prefix(kScheme.size());
  const std::size_t begin = authorization.find_first_not_of(' ');
  return begin == std::string_view::npos ? std::string_view{} : authorization.substr(begin);
}

}  // namespace

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    digests_.push_back(DigestOf(key));
  }
}

bool ApiKeys::Accept(std::string_view authorization, std::string_view x_api_key) const {
  if (digests_.empty()) {
    return true;
  }
  const bool by_bearer = Matches(BearerToken(authorization));
  const bool by_header = Matches(x_api_key);
  return by_bearer || by_header;
}

// Every key is compared, whichever matches.
bool ApiKeys::Matches(std::string_view key) const {
  const Digest digest = DigestOf(key);
  bool found = false;
  for (const Digest& known : digests_) {
    found |= CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0;
  }
  return found && !key.empty();
}

}  // namespace sparkspan::head::http
