#include "deploy/cli/tensor_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace sparkspan::deploy::cli {
namespace {

class TensorFileTest : public ::testing::Test {
 protected:
  TensorFileTest()
      : folder_(std::filesystem::temp_directory_path() /
                ("sparkspan_tensors_" + std::to_string(getpid()))) {
    std::filesystem::create_directory(folder_);
  }
  ~TensorFileTest() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name) const { return (folder_ / name).string(); }

  const std::filesystem::path folder_;
  const std::map<std::string, F32Tensor> tensors_ = {{"a", {{2}, {1.0f, 2.0f}}}};
};

TEST_F(TensorFileTest, ReplacesAFile) {
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(WriteTensors(File("out"), tensors_).ok());
  }
  EXPECT_EQ(ReadTensors(File("out"))->at("a").values, tensors_.at("a").values);
  std::filesystem::create_symlink(File("out"), File("link"));
  EXPECT_TRUE(CheckReplaceable(File("link")).ok());
}

// As root a rename would put a plain file in the place of /dev/null.
TEST_F(TensorFileTest, ReplacesNothingElse) {
  ASSERT_EQ(mkfifo(File("pipe").c_str(), 0600), 0);
  std::filesystem::create_directory(File("folder"));
  std::filesystem::create_symlink("/dev/null", File("link"));
  for (const char* name : {"pipe", "folder", "link"}) {
    const absl::Status status = WriteTensors(File(name), tensors_);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_NE(std::string(status.message()).find(File(name)), std::string::npos);
    EXPECT_FALSE(std::filesystem::is_regular_file(File(name)));
    EXPECT_FALSE(std::filesystem::exists(File(name) + ".partial"));
  }
  EXPECT_FALSE(CheckReplaceable("/dev/null").ok());
}

}  // namespace
}  // namespace sparkspan::deploy::cli
