#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sparkspan::head::http {

// The keys that open the API. Only their hashes are kept, compared in constant time.
class ApiKeys {
 public:
  // No keys: everybody may in.
  explicit ApiKeys(const std::vector<std::string>& keys);

  // `authorization` and `x_api_key` are the headers' values, empty when absent.
  bool Accept(std::string_view authorization, std::string_view x_api_key) const;

 private:
  using Digest = std::array<std::uint8_t, 32>;
  bool Matches(std::string_view key) const;

  std::vector<Digest> digests_;
};

}  // namespace sparkspan::head::http
