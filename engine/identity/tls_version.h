#pragma once

namespace sparkspan::engine::identity {

// From now on gRPC of this process speaks TLS 1.3 or nothing. Its API has no such setting (1.51):
// what it has is the list of cipher suites up to TLS 1.2, from the environment. With a list that no
// certificate can serve, only 1.3's own suites are left. Before any thread and any use of gRPC.
void AllowTls13Only();

}  // namespace sparkspan::engine::identity
