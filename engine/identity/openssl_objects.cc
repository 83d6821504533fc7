#include "engine/identity/openssl_objects.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::engine::identity {
namespace {

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, FreeBio>;

BioPtr ReaderOf(const std::string& text) {
  BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  CHECK(bio != nullptr);
  return bio;
}

template <typename Write>
std::string Written(Write write) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  CHECK(bio != nullptr);
  CHECK_EQ(write(bio.get()), 1);
  char* data = nullptr;
  const auto bytes = static_cast<std::size_t>(BIO_get_mem_data(bio.get(), &data));
  return std::string(data, bytes);
}

}  // namespace

void FreeKey::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

void FreeX509::operator()(x509_st* certificate) const {
  X509_free(certificate);
}

absl::Status OpensslError(const std::string& what) {
  std::array<char, 256> reason{};
  ERR_error_string_n(ERR_get_error(), reason.data(), reason.size());
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s", what, reason.data()));
}

absl::StatusOr<X509Ptr> CertificateFromPem(const std::string& pem, const std::string& what) {
  X509Ptr certificate(PEM_read_bio_X509(ReaderOf(pem).get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) {
    return OpensslError(what + " holds no certificate in PEM");
  }
  return certificate;
}

absl::StatusOr<KeyPtr> KeyFromPem(const std::string& pem, const std::string& what) {
  // No password is asked for: a daemon has nobody to ask.
  const auto no_password = [](char*, int, int, void*) { return 0; };
  KeyPtr key(PEM_read_bio_PrivateKey(ReaderOf(pem).get(), nullptr, no_password, nullptr));
  if (key == nullptr) {
    return OpensslError(what + " holds no private key in PEM without a password");
  }
  return key;
}

std::string ToPem(x509_st& certificate) {
  return Written([&](BIO* bio) { return PEM_write_bio_X509(bio, &certificate); });
}

std::string ToPem(evp_pkey_st& key) {
  return Written([&](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, &key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

}  // namespace sparkspan::engine::identity
