#include "engine/identity/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "engine/identity/authority.h"

namespace sparkspan::engine::identity {
namespace {

using std::chrono::hours;
using ::testing::HasSubstr;

const WallTime kNow = std::chrono::system_clock::from_time_t(1'800'000'000);

class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsTest() : authority_(*Authority::Create("pair", kNow, 3650)) {
    own_ = Make(authority_, 30);
  }

  static Credentials Make(const Authority& authority, int days) {
    const KeyPair pair = *authority.Issue({"b", {Role::kWorker}, {}}, kNow, days);
    return {authority.pair().certificate, pair.certificate, pair.key};
  }

  static std::string Fault(const Credentials& credentials, WallTime now = kNow) {
    return std::string(CheckCredentials(credentials, "worker.b.pair", now).message());
  }

  Authority authority_;
  Credentials own_;
};

TEST_F(CredentialsTest, GoodOnesPass) {
  EXPECT_EQ(Fault(own_), "");
}

TEST_F(CredentialsTest, AnotherKeyAuthorityTimeOrRoleIsNamed) {
  const Authority foreign = *Authority::Create("pair", kNow, 3650);
  Credentials changed = own_;
  changed.key = Make(authority_, 30).key;
  EXPECT_THAT(Fault(changed), HasSubstr("certificate and key do not belong together"));
  changed = own_;
  changed.authority = foreign.pair().certificate;
  EXPECT_THAT(Fault(changed), HasSubstr("not signed by the authority"));
  EXPECT_THAT(Fault(own_, kNow + hours(24 * 31)), HasSubstr("expired on"));
  EXPECT_EQ(CheckCredentials(own_, "head.b.pair", kNow).message(),
            "this node's certificate is for worker.b.pair, expected head.b.pair; issue it from "
            "this cluster.yaml");
}

TEST_F(CredentialsTest, FilesAreReadAndAKeyThatOthersReadIsRefused) {
  std::string folder = (std::filesystem::temp_directory_path() / "identity-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const CredentialFiles files{folder + "/ca.pem", folder + "/node.pem", folder + "/node.key"};
  std::ofstream(files.authority) << own_.authority;
  std::ofstream(files.certificate) << own_.certificate;
  EXPECT_THAT(std::string(ReadCredentials(files).status().message()), HasSubstr("node.key"));
  std::ofstream(files.key) << own_.key;
  chmod(files.key.c_str(), 0644);
  EXPECT_THAT(std::string(ReadCredentials(files).status().message()), HasSubstr("mode 644"));
  chmod(files.key.c_str(), 0600);
  const absl::StatusOr<Credentials> read = ReadCredentials(files);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(Fault(*read), "");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace sparkspan::engine::identity
