#include "engine/identity/credentials.h"

#include <openssl/x509.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/identity/openssl_objects.h"

namespace sparkspan::engine::identity {
namespace {

constexpr const char* kOwnCertificate = "this node's certificate";
constexpr const char* kOwnKey = "this node's key";
constexpr const char* kAuthority = "the authority's certificate";

absl::StatusOr<std::string> ReadFile(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    return absl::NotFoundError(
        absl::StrFormat("cannot read %s: %s; make it with `sparkspan certs`, or write "
                        "control_tls: {plaintext: true} if the link is trusted",
                        file,
                        std::strerror(errno)));
  }
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

}  // namespace

absl::StatusOr<Credentials> ReadCredentials(const CredentialFiles& files) {
  Credentials credentials;
  ASSIGN_OR_RETURN(credentials.authority, ReadFile(files.authority));
  ASSIGN_OR_RETURN(credentials.certificate, ReadFile(files.certificate));
  ASSIGN_OR_RETURN(credentials.key, ReadFile(files.key));
  struct stat status {};
  if (stat(files.key.c_str(), &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return absl::PermissionDeniedError(
        absl::StrFormat("%s has mode %03o: others than its owner may read the key; chmod 600 it",
                        files.key,
                        status.st_mode & 0777));
  }
  return credentials;
}

absl::Status CheckKey(const std::string& certificate, const std::string& key) {
  ASSIGN_OR_RETURN(const X509Ptr own, CertificateFromPem(certificate, kOwnCertificate));
  ASSIGN_OR_RETURN(const KeyPtr own_key, KeyFromPem(key, kOwnKey));
  if (X509_check_private_key(own.get(), own_key.get()) != 1) {
    return OpensslError("this node's certificate and key do not belong together");
  }
  return absl::OkStatus();
}

absl::Status CheckSignature(const std::string& certificate, const std::string& authority) {
  ASSIGN_OR_RETURN(const X509Ptr own, CertificateFromPem(certificate, kOwnCertificate));
  ASSIGN_OR_RETURN(const X509Ptr signer, CertificateFromPem(authority, kAuthority));
  if (X509_verify(own.get(), X509_get0_pubkey(signer.get())) != 1) {
    return OpensslError("this node's certificate was not signed by the authority that it is given");
  }
  return absl::OkStatus();
}

absl::Status CheckCredentials(const Credentials& credentials,
                              const std::string& role_name,
                              WallTime now) {
  RETURN_IF_ERROR(CheckKey(credentials.certificate, credentials.key));
  RETURN_IF_ERROR(CheckSignature(credentials.certificate, credentials.authority));
  ASSIGN_OR_RETURN(const Certificate read,
                   ReadCertificate(credentials.certificate, kOwnCertificate));
  ASSIGN_OR_RETURN(const Certificate signer, ReadCertificate(credentials.authority, kAuthority));
  RETURN_IF_ERROR(CheckInForce(read, kOwnCertificate, now));
  RETURN_IF_ERROR(CheckInForce(signer, kAuthority, now));
  if (!read.HasName(role_name)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "this node's certificate is for %s, expected %s; issue it from this cluster.yaml",
        absl::StrJoin(read.names, ", "),
        role_name));
  }
  return absl::OkStatus();
}

}  // namespace sparkspan::engine::identity
