#include "kernels/attention/attend.cuh"
#include "kernels/attention/prepare.cuh"

namespace sparkspan::kernels {

int LaunchQuery(const QueryArguments& arguments, void* stream) {
  return run_query(arguments, stream);
}
int LaunchEntryWrite(const EntryWriteArguments& arguments, void* stream) {
  return run_entry_write(arguments, stream);
}
int LaunchAttention(const AttentionArguments& arguments, void* stream) {
  return run_attention(arguments, stream);
}

}  // namespace sparkspan::kernels
