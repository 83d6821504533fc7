#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_format.h"
#include "engine/base/unique_fd.h"
#include "engine/identity/authority.h"
#include "engine/identity/openssl_objects.h"
#include "engine/identity/tls_version.h"
#include "head/cluster/grpc_links.h"
#include "head/cluster/remote_cluster.h"
#include "head/cluster/worker_examiner.h"
#include "proto/sparkspan/v1/worker.grpc.pb.h"
#include "tests/integration/local_workers.h"

// Who may speak on the control plane: a worker with certificates, over real sockets.
namespace sparkspan::tests {
namespace {

using engine::Rank;
using engine::identity::Authority;
using engine::identity::Credentials;
using engine::identity::Role;
using std::chrono::hours;
using ::testing::HasSubstr;

constexpr const char* kWorkerName = "worker.local.local";
constexpr const char* kHeadName = "head.local.local";

Credentials Issue(const Authority& authority,
                  const std::string& node,
                  std::vector<Role> roles,
                  engine::identity::WallTime at,
                  int days) {
  const auto pair = authority.Issue({node, std::move(roles), {"127.0.0.1"}}, at, days);
  EXPECT_TRUE(pair.ok()) << pair.status();
  return {authority.pair().certificate, pair->certificate, pair->key};
}

engine::UniqueFd ConnectTo(std::uint16_t port) {
  engine::UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return socket;
}

// Whether a server talks to a client of OpenSSL's own that speaks one version of TLS; else it has
// hung up.
bool TalksTo(std::uint16_t port, const Credentials& own, int version) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  &SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  const auto certificate = engine::identity::CertificateFromPem(own.certificate, "it");
  const auto key = engine::identity::KeyFromPem(own.key, "it");
  EXPECT_EQ(SSL_CTX_use_certificate(context.get(), certificate->get()), 1);
  EXPECT_EQ(SSL_CTX_use_PrivateKey(context.get(), key->get()), 1);
  const engine::UniqueFd socket = ConnectTo(port);
  const std::unique_ptr<SSL, decltype(&SSL_free)> session(SSL_new(context.get()), &SSL_free);
  SSL_set_fd(session.get(), socket.get());
  constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(session.get(), kHttp2, sizeof(kHttp2));
  // In version 1.3 a client learns after the handshake what the server thinks of its certificate: a
  // byte of HTTP/2's settings, or the end.
  char byte = 0;
  return SSL_connect(session.get()) == 1 && SSL_read(session.get(), &byte, 1) == 1;
}

class TlsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { engine::identity::AllowTls13Only(); }

  TlsTest()
      : now_(std::chrono::system_clock::now()),
        authority_(*Authority::Create("local", now_, 30)),
        foreign_(*Authority::Create("local", now_, 30)),
        config_(MakeConfig(1)) {
    StartWorkerWith(Issue(authority_, "local", {Role::kWorker}, now_, 30));
  }

  void StartWorkerWith(const Credentials& tls) {
    worker_.reset();
    worker_ = StartWorker(config_, 0, [&](worker::ServiceOptions& options) {
      options.tls = tls;
      options.head_name = kHeadName;
    });
  }

  Credentials HeadOf(const Authority& authority) const {
    return Issue(authority, "local", {Role::kHead}, now_, 30);
  }

  std::unique_ptr<head::cluster::RemoteCluster> ClusterWith(
      const std::optional<Credentials>& tls) const {
    return MakeCluster(config_, [&](head::cluster::GrpcLinksOptions& links) {
      links.tls = tls;
      links.worker_names = {kWorkerName};
    });
  }

  std::uint16_t port() const { return config_.nodes[0].ranks[0].control_port; }

  // That a head with these credentials is kept out until /status says this of the worker.
  void ExpectKeptOut(const std::optional<Credentials>& tls, const std::string& why) const {
    const auto cluster = ClusterWith(tls);
    const engine::Time soon = Soon();
    std::string detail;
    while (detail.find(why) == std::string::npos && std::chrono::steady_clock::now() < soon) {
      const absl::Status status = cluster->Reform(
          engine::Epoch(++epoch_), std::chrono::steady_clock::now() + std::chrono::seconds(1));
      ASSERT_TRUE(absl::IsDeadlineExceeded(status)) << status;
      ASSERT_EQ(cluster->Ranks()[0].device, "") << "the worker has told who it is";
      detail = cluster->Ranks()[0].detail;
    }
    EXPECT_THAT(detail, HasSubstr(why));
  }

  const engine::identity::WallTime now_;
  const Authority authority_;
  const Authority foreign_;
  const engine::config::ClusterConfig config_;
  std::optional<Worker> worker_;
  mutable std::uint64_t epoch_ = 0;
};

TEST_F(TlsTest, AHeadWithTheRightCertificateServes) {
  const auto cluster = ClusterWith(HeadOf(authority_));
  const absl::Status status = cluster->Reform(engine::Epoch(1), Soon());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(RunFirstStep(*cluster, engine::Epoch(1)).has_value());
}

absl::Status Examine(const engine::config::ClusterConfig& config,
                     const std::optional<Credentials>& tls,
                     std::string version = kVersion) {
  head::cluster::ExaminerOptions options;
  options.control = config.nodes[0].control;
  options.tls = tls;
  options.program_version = std::move(version);
  options.config_hash = Hash(config);
  options.worker = ControlEndpoints(config)[0];
  options.worker_name = kWorkerName;
  const auto report = head::cluster::WorkerExaminer(std::move(options))
                          .ExamineNode(/*after_failure=*/true, std::chrono::minutes(1));
  if (!report.ok()) {
    return report.status();
  }
  EXPECT_GT(report->Count(engine::doctor::Outcome::kPass), 0);
  return absl::OkStatus();
}

// Beside the stream: the head's node may have the worker look at its machine, others may not.
TEST_F(TlsTest, AWorkerExaminesItsNodeForTheHeadsNodeAlone) {
  const absl::Status own = Examine(config_, HeadOf(authority_));
  EXPECT_TRUE(own.ok()) << own;
  const absl::Status worker =
      Examine(config_, Issue(authority_, "local", {Role::kWorker}, now_, 30));
  EXPECT_FALSE(worker.ok());
  const absl::Status other_head =
      Examine(config_, Issue(authority_, "other", {Role::kHead}, now_, 30));
  EXPECT_TRUE(absl::IsPermissionDenied(other_head)) << other_head;
  EXPECT_TRUE(absl::IsUnavailable(Examine(config_, HeadOf(foreign_))));
  EXPECT_TRUE(absl::IsUnavailable(Examine(config_, std::nullopt)));
  const absl::Status older = Examine(config_, HeadOf(authority_), "other release");
  EXPECT_TRUE(absl::IsFailedPrecondition(older)) << older;
}

TEST_F(TlsTest, OnlyVersion13IsSpoken) {
  EXPECT_TRUE(TalksTo(port(), HeadOf(authority_), TLS1_3_VERSION));
  EXPECT_FALSE(TalksTo(port(), HeadOf(authority_), TLS1_2_VERSION));
}

TEST_F(TlsTest, APlaintextPeerIsRefused) {
  const engine::UniqueFd socket = ConnectTo(port());
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  ASSERT_EQ(send(socket.get(), preface.data(), preface.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(preface.size()));
  // The end, or an alert of TLS; never a frame of HTTP/2.
  constexpr unsigned char kAlert = 21;
  unsigned char byte = 0;
  EXPECT_TRUE(recv(socket.get(), &byte, 1, 0) <= 0 || byte == kAlert) << int{byte};
}

TEST_F(TlsTest, APeerWithoutACertificateIsRefused) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = authority_.pair().certificate;
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(kWorkerName);
  const auto channel = grpc::CreateCustomChannel(
      absl::StrFormat("ipv4:127.0.0.1:%d", config_.nodes[0].ranks[0].control_port),
      grpc::SslCredentials(options),
      arguments);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto stream = v1::Worker::NewStub(channel)->Serve(&context);
  v1::WorkerMessage answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// Each side finds out for itself: here both would refuse.
TEST_F(TlsTest, APeerOfAForeignAuthorityIsRefused) {
  ExpectKeptOut(HeadOf(foreign_), "certificate verify failed");
}

// The worker alone finds out: the head trusts the right authority.
TEST_F(TlsTest, ACertificateOfAForeignAuthorityIsRefusedByTheWorker) {
  Credentials mixed = HeadOf(foreign_);
  mixed.authority = authority_.pair().certificate;
  EXPECT_FALSE(TalksTo(port(), mixed, TLS1_3_VERSION));
}

TEST_F(TlsTest, AnExpiredCertificateIsRefused) {
  const Credentials expired = Issue(authority_, "local", {Role::kHead}, now_ - hours(24 * 40), 30);
  EXPECT_FALSE(TalksTo(port(), expired, TLS1_3_VERSION));
}

TEST_F(TlsTest, AnExpiredCertificateOfTheWorkerIsRefusedByTheHead) {
  StartWorkerWith(Issue(authority_, "local", {Role::kWorker}, now_ - hours(24 * 40), 30));
  ExpectKeptOut(HeadOf(authority_), "certificate verify failed");
}

// A worker's certificate cannot command another worker: the key usage is that of servers.
TEST_F(TlsTest, AWorkersCertificateIsNoHeads) {
  const Credentials worker = Issue(authority_, "local", {Role::kWorker}, now_, 30);
  EXPECT_FALSE(TalksTo(port(), worker, TLS1_3_VERSION));
}

// A head, but of another node: past TLS, and refused by name.
TEST_F(TlsTest, TheHeadOfAnotherNodeIsRefusedByName) {
  ExpectKeptOut(Issue(authority_, "other", {Role::kHead}, now_, 30),
                absl::StrFormat("a certificate for head.other.local, 127.0.0.1 is refused: the "
                                "head's carries %s",
                                kHeadName));
}

TEST_F(TlsTest, AnotherNodeInAWorkersPlaceIsRefusedByTheHead) {
  StartWorkerWith(Issue(authority_, "other", {Role::kWorker}, now_, 30));
  ExpectKeptOut(HeadOf(authority_), "worker.local.local is not in peer certificate");
}

// Its key usage is that of clients.
TEST_F(TlsTest, AHeadInAWorkersPlaceIsRefusedByTheHead) {
  StartWorkerWith(HeadOf(authority_));
  ExpectKeptOut(HeadOf(authority_), "certificate verify failed");
}

}  // namespace
}  // namespace sparkspan::tests
