#include "engine/collective/peer_proof.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sparkspan::engine::collective {
namespace {

Hello SomeHello() {
  Hello hello;
  hello.epoch = Epoch(7);
  hello.config_hash = 0xC0FFEE;
  hello.from = Rank(1);
  hello.ranks = 2;
  hello.nonce.fill(std::byte{0x11});
  return hello;
}

Welcome SomeWelcome() {
  Welcome welcome;
  welcome.self = SomeHello();
  welcome.self.nonce.fill(std::byte{0x22});
  return welcome;
}

SessionKey SomeKey() {
  SessionKey key;
  key.fill(std::byte{0x5A});
  return key;
}

std::string Hex(const Proof& proof) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string hex;
  for (const std::byte byte : proof) {
    hex += kDigits[std::to_integer<int>(byte) >> 4];
    hex += kDigits[std::to_integer<int>(byte) & 15];
  }
  return hex;
}

// Independently: hmac.new(bytes([0x5A]) * 32, message, "sha256") of Python over
// b"sparkspan hello" + b"SPSHello" + struct.pack("<IiiiQQQ", 2, 2, 1, 0, 7, 0xC0FFEE, 0)
// + bytes([0x11]) * 32 + bytes(32).
TEST(PeerProof, IsTheHmacOfLabelAndRecords) {
  EXPECT_EQ(Hex(ProveHello(SomeKey(), SomeHello())),
            "e191cda1afe3ee53d3daa5b9d581502ae0580fb1a1632337132bb86e113e2756");
}

TEST(PeerProof, DependsOnTheKeyAndEveryField) {
  const Proof proof = ProveHello(SomeKey(), SomeHello());
  SessionKey other_key = SomeKey();
  other_key[31] ^= std::byte{1};
  EXPECT_FALSE(IsSame(ProveHello(other_key, SomeHello()), proof));
  Hello changed = SomeHello();
  changed.nonce[0] ^= std::byte{1};
  EXPECT_FALSE(IsSame(ProveHello(SomeKey(), changed), proof));
  changed = SomeHello();
  changed.from = Rank(0);
  EXPECT_FALSE(IsSame(ProveHello(SomeKey(), changed), proof));
  changed = SomeHello();
  changed.proof = proof;
  EXPECT_TRUE(IsSame(ProveHello(SomeKey(), changed), proof)) << "a proof is not part of itself";
}

// A proof recorded in one place is of no use in another.
TEST(PeerProof, ThePlacesInAHandshakeDiffer) {
  const std::set<std::string> proofs = {
      Hex(ProveHello(SomeKey(), SomeHello())),
      Hex(ProveWelcome(SomeKey(), SomeHello(), SomeWelcome())),
      Hex(ProveAnswer(SomeKey(), SomeHello(), SomeWelcome())),
      Hex(ProveWelcome(SomeKey(), SomeWelcome().self, SomeWelcome()))};
  EXPECT_EQ(proofs.size(), 4u);
}

TEST(PeerProof, NoncesAreFresh) {
  EXPECT_FALSE(IsSame(NewNonce(), NewNonce()));
}

}  // namespace
}  // namespace sparkspan::engine::collective
