#include "deploy/cli/certs_command.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/identity/certificate.h"
#include "engine/identity/credentials.h"

namespace sparkspan::deploy::cli {
namespace {

// Two nodes, of which the first runs the head too.
constexpr const char* kCluster = R"(version: 1
cluster: pair
head: a
model: {path: /model, served_names: [demo]}
api: {address: 127.0.0.1, tls: {plaintext: true}}
control_tls: {authority: /tls/authority.pem, certificate: /tls/node.pem, key: /tls/node.key}
nodes:
  - name: a
    control: {interface: eth0, address: 10.0.0.1}
    bootstrap: {interface: eth1, address: 10.0.1.1}
    data: tcp
    ranks: [{rank: 0, device: {cpu_threads: 1}, control_port: 7100, data_port: 7200}]
  - name: b
    control: {interface: eth0, address: 10.0.0.2}
    bootstrap: {interface: eth1, address: 10.0.1.2}
    data: tcp
    ranks: [{rank: 1, device: {cpu_threads: 1}, control_port: 7100, data_port: 7200}]
)";

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

mode_t ModeOf(const std::filesystem::path& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777;
}

class CertsCommandTest : public ::testing::Test {
 protected:
  CertsCommandTest() {
    std::string name = (std::filesystem::temp_directory_path() / "certs-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    std::ofstream(folder_ / "cluster.yaml") << kCluster;
  }
  ~CertsCommandTest() override { std::filesystem::remove_all(folder_); }

  int Run() const {
    const std::string cluster = folder_ / "cluster.yaml";
    const std::string out = folder_ / "tls";
    const std::vector<std::string_view> args = {"--cluster", cluster, "--out", out, "--days", "30"};
    return RunCertsCommand(args);
  }

  absl::Status Check(const std::string& node, const std::string& role_name) const {
    const std::filesystem::path own = folder_ / "tls" / node;
    const auto credentials = engine::identity::ReadCredentials(
        {own / "authority.pem", own / "node.pem", own / "node.key"});
    EXPECT_TRUE(credentials.ok()) << credentials.status();
    return CheckCredentials(*credentials, role_name, std::chrono::system_clock::now());
  }

  std::filesystem::path folder_;
};

TEST_F(CertsCommandTest, EveryNodeGetsWhatItsRolesNeed) {
  ASSERT_EQ(Run(), 0);
  EXPECT_TRUE(Check("a", "head.a.pair").ok());
  EXPECT_TRUE(Check("a", "worker.a.pair").ok());
  EXPECT_TRUE(Check("b", "worker.b.pair").ok());
  EXPECT_FALSE(Check("b", "head.b.pair").ok());
  const auto b = engine::identity::ReadCertificate(ReadFile(folder_ / "tls/b/node.pem"), "b");
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_EQ(b->addresses, (std::vector<std::string>{"10.0.0.2", "10.0.1.2"}));
  EXPECT_EQ(DaysLeft(*b, std::chrono::system_clock::now()), 29) << "30 days less a moment";
  EXPECT_EQ(ModeOf(folder_ / "tls/authority.key"), 0600u);
  EXPECT_EQ(ModeOf(folder_ / "tls/b/node.key"), 0600u);
}

TEST_F(CertsCommandTest, AnAuthorityIsKeptAndItsCertificatesAreRenewed) {
  ASSERT_EQ(Run(), 0);
  const std::string authority = ReadFile(folder_ / "tls/authority.key");
  const std::string certificate = ReadFile(folder_ / "tls/a/node.pem");
  ASSERT_EQ(Run(), 0);
  EXPECT_EQ(ReadFile(folder_ / "tls/authority.key"), authority);
  EXPECT_NE(ReadFile(folder_ / "tls/a/node.pem"), certificate);
  EXPECT_TRUE(Check("a", "head.a.pair").ok());
}

TEST_F(CertsCommandTest, AnotherClustersAuthorityIsNotUsed) {
  ASSERT_EQ(Run(), 0);
  std::string other = kCluster;
  other.replace(other.find("cluster: pair"), 13, "cluster: duet");
  std::ofstream(folder_ / "cluster.yaml") << other;
  EXPECT_EQ(Run(), 1);
}

}  // namespace
}  // namespace sparkspan::deploy::cli
