#include "engine/weights/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A file of this header and so many data bytes.
std::string FileOf(const std::string& header, std::size_t data_bytes) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    file[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
  }
  return file + header + std::string(data_bytes, 'x');
}

absl::StatusOr<std::vector<TensorEntry>> Parse(const std::string& file) {
  return ParseSafetensorsHeader("shard", std::as_bytes(std::span(file)), file.size());
}

std::string ErrorOf(const std::string& header, std::size_t data_bytes) {
  return std::string(Parse(FileOf(header, data_bytes)).status().message());
}

TEST(SafetensorsHeader, GivesEntriesInOrderOfOffset) {
  const std::string header =
      R"({"__metadata__": {"format": "pt"},
          "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [4, 16]},
          "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
          "c": {"dtype": "I64", "shape": [], "data_offsets": [16, 24]}}   )";
  const auto entries = Parse(FileOf(header, 24));
  ASSERT_TRUE(entries.ok()) << entries.status().message();
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].name, "b");
  EXPECT_EQ((*entries)[0].offset, 8 + header.size());
  EXPECT_EQ((*entries)[1].name, "a");
  EXPECT_EQ((*entries)[1].dtype, Dtype::kBf16);
  EXPECT_EQ((*entries)[1].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ((*entries)[1].bytes, 12u);
  EXPECT_EQ((*entries)[2].offset, 8 + header.size() + 16);
}

TEST(SafetensorsHeader, ChecksEveryBound) {
  const std::string a = R"("a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]})";
  const auto b = [](const std::string& dtype, const std::string& shape, const std::string& at) {
    return R"("b": {"dtype": ")" + dtype + R"(", "shape": )" + shape + R"(, "data_offsets": )" +
           at + "}";
  };
  const std::tuple<std::string, std::size_t, const char*> wrongs[] = {
      {"{" + a + "}", 3, "tensor a ends at data byte 4 of 3: truncated"},
      {"{" + a + "}", 5, "1 bytes behind the last tensor"},
      {"{" + a + ", " + b("I8", "[4]", "[2, 6]") + "}", 6, "begins at data byte 2, inside another"},
      {"{" + a + ", " + b("I8", "[4]", "[5, 9]") + "}", 9, "begins at data byte 5, after a gap"},
      {"{" + a + ", " + a + "}", 4, "has the key \"a\" twice"},
      {"{" + b("F8_E5M2", "[4]", "[0, 4]") + "}", 4, "b.dtype is \"F8_E5M2\", expected one of I64"},
      {"{" + b("F32", "[4]", "[0, 4]") + "}", 4, "16 bytes apart"},
      {"{" + b("I8", "[-4]", "[0, 4]") + "}", 4, "b.shape is [-4]"},
      {"{" + b("I8", "[1, 1, 1, 1, 4]", "[0, 4]") + "}", 4, "a list of at most 4 integers"},
      {"{" + b("I8", "[1099511627776, 1099511627776]", "[0, 4]") + "}", 4, "less than 2^63 bytes"},
      {"{" + b("I8", "[4]", "[4, 0]") + "}", 4, "4 bytes apart"},
      {"{" + b("I8", "[4]", "[0]") + "}", 4, "b.data_offsets is [0]"},
      {"{" + b("I8", "[4]", "[0, 4], \"more\": 1") + "}", 4, "b.more is 1"},
      {R"({"b": 3})", 4, "b is 3, expected an object"},
      {R"({"b": {"shape": [4], "data_offsets": [0, 4]}})", 4, "b.dtype is absent"},
      {"[]", 0, "is not a JSON object"},
      {"{", 0, "is not a JSON object"}};
  for (const auto& [header, bytes, message] : wrongs) {
    EXPECT_THAT(ErrorOf(header, bytes), AllOf(HasSubstr("shard"), HasSubstr(message))) << header;
  }
}

TEST(SafetensorsHeader, RefusesLengthsOutsideTheFile) {
  EXPECT_THAT(std::string(Parse("").status().message()), HasSubstr("is 0 bytes"));
  EXPECT_THAT(std::string(Parse("1234567").status().message()), HasSubstr("is 7 bytes"));
  EXPECT_THAT(std::string(Parse(FileOf("{}", 0).substr(0, 9)).status().message()),
              HasSubstr("its header says it is 2 bytes long in a file of 9"));
  EXPECT_THAT(std::string(Parse(std::string(64, '\xFF')).status().message()),
              HasSubstr("its header says"));
}

TEST(SafetensorsHeader, ReadsOnlyTheHeaderOfAFile) {
  const tests::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "model.safetensors";
  tests::WriteText(file,
                   FileOf(R"({"a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}})", 4));
  std::uint64_t bytes = 0;
  const auto entries = ReadSafetensorsHeader(file, &bytes);
  ASSERT_TRUE(entries.ok()) << entries.status().message();
  EXPECT_EQ(entries->size(), 1u);
  EXPECT_EQ(bytes, std::filesystem::file_size(file));
  EXPECT_THAT(std::string(ReadSafetensorsHeader(folder.path() / "none", &bytes).status().message()),
              HasSubstr("none: cannot be opened"));
  EXPECT_THAT(std::string(ReadSafetensorsHeader(folder.path(), &bytes).status().message()),
              HasSubstr("cannot be opened as a file"));
}

}  // namespace
}  // namespace sparkspan::engine::weights
