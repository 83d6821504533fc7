#include "engine/identity/tls_version.h"

#include <cstdlib>

namespace sparkspan::engine::identity {

void AllowTls13Only() {
  // A pre-shared key, which neither side has.
  setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", /*overwrite=*/1);
}

}  // namespace sparkspan::engine::identity
