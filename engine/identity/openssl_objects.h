#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// OpenSSL's objects with owners, for the .cc files of this room; what they are is known to those
// alone.
struct evp_pkey_st;
struct x509_st;

namespace sparkspan::engine::identity {

struct FreeKey {
  void operator()(evp_pkey_st* key) const;
};
struct FreeX509 {
  void operator()(x509_st* certificate) const;
};
using KeyPtr = std::unique_ptr<evp_pkey_st, FreeKey>;
using X509Ptr = std::unique_ptr<x509_st, FreeX509>;

// The first object in `pem`. `what` names its origin in errors, such as a file.
absl::StatusOr<X509Ptr> CertificateFromPem(const std::string& pem, const std::string& what);
absl::StatusOr<KeyPtr> KeyFromPem(const std::string& pem, const std::string& what);
std::string ToPem(x509_st& certificate);
std::string ToPem(evp_pkey_st& key);  // PKCS #8, not encrypted

// `what`, with OpenSSL's own reason for its last failure.
absl::Status OpensslError(const std::string& what);

}  // namespace sparkspan::engine::identity
