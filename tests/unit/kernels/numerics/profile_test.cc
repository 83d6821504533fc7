#include "kernels/numerics/profile.h"

#include <gtest/gtest.h>

namespace sparkspan::kernels::numerics {
namespace {

TEST(NumericsProfile, IsFoundByNameOnly) {
  EXPECT_EQ(ProfileOf("unquantised")->Hash(), kUnquantised.Hash());
  EXPECT_EQ(ProfileOf("quantised")->Hash(), kQuantised.Hash());
  EXPECT_FALSE(ProfileOf("Quantised").has_value());
  EXPECT_FALSE(ProfileOf("").has_value());
}

TEST(NumericsProfile, HashSeesEveryFieldButTheName) {
  NumericsProfile profile = kQuantised;
  profile.name = "renamed";
  EXPECT_EQ(profile.Hash(), kQuantised.Hash());

  const auto differs = [](auto change) {
    NumericsProfile changed = kQuantised;
    change(changed);
    return changed.Hash() != kQuantised.Hash();
  };
  EXPECT_TRUE(differs([](NumericsProfile& p) { p.activation = ActivationFormat::kF32; }));
  EXPECT_TRUE(differs([](NumericsProfile& p) { p.quantisation = ActivationQuantisation::kNone; }));
  EXPECT_TRUE(differs([](NumericsProfile& p) { p.cache = CacheFormat::kF32; }));
  EXPECT_TRUE(differs([](NumericsProfile& p) { p.index = IndexFormat::kF32; }));
}

}  // namespace
}  // namespace sparkspan::kernels::numerics
