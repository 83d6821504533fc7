#include "engine/collective/blamed_peer.h"

#include <gtest/gtest.h>

namespace sparkspan::engine::collective {
namespace {

TEST(BlamedPeer, IsAttachedToAnErrorAndLeavesItsText) {
  const absl::Status plain = absl::UnavailableError("rank 3: it closed the connection");
  EXPECT_FALSE(BlamedPeer(plain).has_value());
  const absl::Status blaming = BlamePeer(plain, Rank(3));
  EXPECT_EQ(BlamedPeer(blaming), Rank(3));
  EXPECT_EQ(blaming.message(), plain.message());
  EXPECT_EQ(blaming.code(), plain.code());
}

}  // namespace
}  // namespace sparkspan::engine::collective
