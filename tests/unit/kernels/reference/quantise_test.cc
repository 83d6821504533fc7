#include "kernels/reference/quantise.h"

#include "kernels/cache_layout.h"
#include "kernels/numerics/formats.h"
#include "tests/unit/kernels/reference/ops_golden.h"

namespace sparkspan::kernels::reference {
namespace {

TEST_F(OpsGolden, ActivationQuantisation) {
  for (const auto& [name, group] : {std::pair{std::string("act_quant_128"), 128},
                                    {"act_quant_64", 64},
                                    {"act_quant_fp4_32", 32}}) {
    std::vector<float> x = Floats(name + "/x");
    std::vector<std::uint8_t> codes(x.size());
    std::vector<std::uint8_t> scales(x.size() / static_cast<std::size_t>(group));
    if (group == 32) {
      QuantiseE2m1(x, group, codes, scales);
      RoundThroughE2m1(x, group);
    } else {
      QuantiseE4m3(x, group, codes, scales);
      RoundThroughE4m3(x, group);
    }
    EXPECT_EQ(codes, Tensor(name + "/code").As<std::uint8_t>());
    EXPECT_EQ(scales, Tensor(name + "/scale").As<std::uint8_t>());
    EXPECT_EQ(x, Floats(name + "/dequant"));
  }
}

// What was read back from the cache is stored again as the same bytes, and as the same values.
TEST_F(OpsGolden, EntriesAndKeysReturn) {
  std::vector<float> entry = Floats("attn/kv");
  entry.resize(512);
  const int bytes = EntryBytes(numerics::kQuantised, 512, 64);
  EXPECT_EQ(bytes, 584);
  EXPECT_EQ(KeyBytes(numerics::kQuantised, 128), 68);
  std::vector<std::byte> stored(584), again(584);
  std::vector<float> decoded(512);
  EncodeEntry(numerics::kQuantised, entry, 64, stored.data());
  DecodeEntry(numerics::kQuantised, stored.data(), 64, decoded);
  RoundThroughE4m3(std::span(entry).first(448), 64);
  EXPECT_EQ(decoded, entry);
  EncodeEntry(numerics::kQuantised, decoded, 64, again.data());
  EXPECT_EQ(again, stored);

  std::vector<float> key = Floats("act_quant_fp4_32/x");
  key.resize(128);
  std::vector<float> key_decoded(128);
  EncodeKey(numerics::kQuantised, key, stored.data());
  DecodeKey(numerics::kQuantised, stored.data(), key_decoded);
  RoundThroughE2m1(key, 32);
  EXPECT_EQ(key_decoded, key);
}

}  // namespace
}  // namespace sparkspan::kernels::reference
