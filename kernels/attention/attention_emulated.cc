#include "kernels/attention/attend.cuh"
#include "kernels/attention/prepare.cuh"

namespace sparkspan::kernels {

void EmulateQuery(const QueryArguments& arguments) {
  simt::expect_launched(run_query(arguments, nullptr));
}
void EmulateEntryWrite(const EntryWriteArguments& arguments) {
  simt::expect_launched(run_entry_write(arguments, nullptr));
}
void EmulateAttention(const AttentionArguments& arguments) {
  simt::expect_launched(run_attention(arguments, nullptr));
}

}  // namespace sparkspan::kernels
