#include "engine/collective/wire_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace sparkspan::engine::collective {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Hello SomeHello() {
  Hello hello;
  hello.epoch = Epoch(0x0102030405060708);
  hello.config_hash = 0x1112131415161718;
  hello.from = Rank(2);
  hello.to = Rank(1);
  hello.ranks = 3;
  hello.nonce.fill(std::byte{0xAB});
  hello.proof.fill(std::byte{0xCD});
  return hello;
}

MessageHeader SomeHeader() {
  MessageHeader header;
  header.operation = Operation::kAllGather;
  header.from = Rank(3);
  header.epoch = Epoch(4);
  header.step = Step(5);
  header.sequence = 6;
  header.payload_bytes = 7;
  return header;
}

TEST(WireFormat, BytesOfVersion2) {
  std::array<std::byte, kHelloBytes> hello;
  Encode(SomeHello(), hello);
  const std::vector<int> expected = {
      'S',  'P',  'S',  'H',  'e',  'l',  'l',  'o',  2, 0, 0, 0, 3, 0, 0, 0,
      2,    0,    0,    0,    1,    0,    0,    0,    8, 7, 6, 5, 4, 3, 2, 1,
      0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0, 0, 0, 0, 0, 0, 0, 0};
  for (std::size_t i = 0; i < kHelloBytes; ++i) {
    const int secret = i < expected.size() + 32 ? 0xAB : 0xCD;
    EXPECT_EQ(std::to_integer<int>(hello[i]), i < expected.size() ? expected[i] : secret) << i;
  }
  std::array<std::byte, kHeaderBytes> header;
  Encode(SomeHeader(), header);
  const std::vector<int> words = {0x6D535053, 0x00020002, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0};
  for (std::size_t i = 0; i < kHeaderBytes; ++i) {
    EXPECT_EQ(std::to_integer<int>(header[i]), words[i / 4] >> 8 * (i % 4) & 0xFF) << i;
  }
}

TEST(WireFormat, WhatIsEncodedIsDecoded) {
  std::array<std::byte, kHelloBytes> bytes;
  Encode(SomeHello(), bytes);
  EXPECT_EQ(*DecodeHello(bytes), SomeHello());
  std::array<std::byte, kWelcomeBytes> welcome;
  Encode(Welcome{Verdict::kOtherEpoch, SomeHello()}, welcome);
  EXPECT_EQ(*DecodeWelcome(welcome), (Welcome{Verdict::kOtherEpoch, SomeHello()}));
  std::array<std::byte, kAnswerBytes> answer;
  Encode(Answer{SomeHello().proof}, answer);
  EXPECT_EQ(*DecodeAnswer(answer), Answer{SomeHello().proof});
  answer[0] = std::byte{'s'};
  EXPECT_FALSE(DecodeAnswer(answer).ok());
  bytes[0] = std::byte{'s'};
  EXPECT_FALSE(DecodeHello(bytes).ok());
  welcome[8] = std::byte{200};
  EXPECT_THAT(std::string(DecodeWelcome(welcome).status().message()), HasSubstr("verdict 200"));
}

TEST(WireFormat, EveryByteOfAProofCounts) {
  const Proof proof = SomeHello().proof;
  EXPECT_TRUE(IsSame(proof, proof));
  for (std::size_t i = 0; i < proof.size(); ++i) {
    Proof other = proof;
    other[i] ^= std::byte{0x80};
    EXPECT_FALSE(IsSame(proof, other)) << i;
  }
}

TEST(WireFormat, JudgesEachFieldOfAHello) {
  Hello self = SomeHello();
  self.from = Rank(1);
  self.to = Rank(2);
  const Hello good = SomeHello();
  EXPECT_EQ(Judge(self, good, true), Verdict::kAccepted);
  Hello peer = good;
  peer.version = 9;
  EXPECT_EQ(Judge(self, peer, true), Verdict::kOtherVersion);
  peer = good;
  EXPECT_EQ(Judge(self, peer, false), Verdict::kOtherKey);
  peer.epoch = Epoch(1);
  EXPECT_EQ(Judge(self, peer, false), Verdict::kOtherEpoch);
  peer = good;
  peer.config_hash = 0;
  EXPECT_EQ(Judge(self, peer, true), Verdict::kOtherConfig);
  for (const int rank : {-1, 1, 3, 1 << 30}) {
    peer = good;
    peer.from = Rank(rank);
    EXPECT_EQ(Judge(self, peer, true), Verdict::kOtherRanks) << rank;
  }
  peer = good;
  peer.to = Rank(0);
  EXPECT_EQ(Judge(self, peer, true), Verdict::kOtherRanks);
}

TEST(WireFormat, AHeaderThatDiffersInAnyFieldIsRefusedWithBothNamed) {
  const MessageHeader expected = SomeHeader();
  std::array<std::byte, kHeaderBytes> bytes;
  Encode(expected, bytes);
  EXPECT_TRUE(CheckHeader(bytes, expected).ok());
  std::vector<MessageHeader> others(7, expected);
  others[0].version = 3;
  others[1].operation = Operation::kAllReduceSum;
  others[2].from = Rank(0);
  others[3].epoch = Epoch(40);
  others[4].step = Step(50);
  others[5].sequence = 60;
  others[6].payload_bytes = 70;
  const char* found[] = {"wire version 3",
                         "all-reduce",
                         "rank 0",
                         "epoch 40",
                         "step 50",
                         "sequence 60",
                         "of 70 bytes"};
  const char* named[] = {
      "wire version 2", "all-gather", "rank 3", "epoch 4", "step 5", "sequence 6", "of 7 bytes"};
  for (std::size_t i = 0; i < others.size(); ++i) {
    Encode(others[i], bytes);
    EXPECT_THAT(std::string(CheckHeader(bytes, expected).message()),
                AllOf(HasSubstr(found[i]), HasSubstr(named[i])));
  }
  bytes[0] = std::byte{0};
  EXPECT_EQ(CheckHeader(bytes, expected).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace sparkspan::engine::collective
