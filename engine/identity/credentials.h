#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/identity/certificate.h"

namespace sparkspan::engine::identity {

// What one process of the control plane proves itself with, and whom it trusts. PEM.
struct Credentials {
  std::string authority;
  std::string certificate;
  std::string key;
};

struct CredentialFiles {
  std::string authority;
  std::string certificate;
  std::string key;
};

// Reads the files. Errors name the file: one that cannot be read, and a key that others than its
// owner may read.
absl::StatusOr<Credentials> ReadCredentials(const CredentialFiles& files);

// That a certificate and a private key belong together, and that an authority has signed a
// certificate. All PEM; FailedPrecondition or OpenSSL's own reason otherwise.
absl::Status CheckKey(const std::string& certificate, const std::string& key);
absl::Status CheckSignature(const std::string& certificate, const std::string& authority);

// That a peer will accept them, so that a daemon says at start what a handshake would not:
// certificate and key belong together, the authority has signed the certificate, both are in force
// at `now`, and it carries `role_name` (role.h).
absl::Status CheckCredentials(const Credentials& credentials,
                              const std::string& role_name,
                              WallTime now);

}  // namespace sparkspan::engine::identity
