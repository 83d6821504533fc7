#include "engine/collective/peer_proof.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "engine/base/log.h"

namespace sparkspan::engine::collective {
namespace {

Proof Prove(const SessionKey& key, std::string_view label, std::span<const std::byte> records) {
  std::vector<std::byte> text(label.size() + records.size());
  std::copy_n(std::as_bytes(std::span(label)).begin(), label.size(), text.begin());
  std::copy(
      records.begin(), records.end(), text.begin() + static_cast<std::ptrdiff_t>(label.size()));
  Proof proof{};
  unsigned int bytes = 0;
  CHECK(HMAC(EVP_sha256(),
             key.data(),
             static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()),
             text.size(),
             reinterpret_cast<unsigned char*>(proof.data()),
             &bytes) != nullptr)
      << "HMAC-SHA256 is not to be had";
  CHECK_EQ(bytes, proof.size());
  return proof;
}

std::array<std::byte, kHelloBytes> BytesOf(const Hello& hello) {
  std::array<std::byte, kHelloBytes> bytes;
  Encode(hello, bytes);
  return bytes;
}

std::array<std::byte, kHelloBytes + kWelcomeBytes> BytesOf(const Hello& hello,
                                                           const Welcome& welcome) {
  std::array<std::byte, kHelloBytes + kWelcomeBytes> bytes;
  const std::span whole(bytes);
  Encode(hello, whole.first<kHelloBytes>());
  Encode(welcome, whole.last<kWelcomeBytes>());
  return bytes;
}

}  // namespace

Nonce NewNonce() {
  Nonce nonce;
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()),
                   static_cast<int>(nonce.size())) == 1)
      << "the system has no randomness";
  return nonce;
}

Proof ProveHello(const SessionKey& key, const Hello& hello) {
  Hello unproven = hello;
  unproven.proof = {};
  return Prove(key, "sparkspan hello", BytesOf(unproven));
}

Proof ProveWelcome(const SessionKey& key, const Hello& hello, const Welcome& welcome) {
  Welcome unproven = welcome;
  unproven.self.proof = {};
  return Prove(key, "sparkspan welcome", BytesOf(hello, unproven));
}

Proof ProveAnswer(const SessionKey& key, const Hello& hello, const Welcome& welcome) {
  return Prove(key, "sparkspan answer", BytesOf(hello, welcome));
}

}  // namespace sparkspan::engine::collective
