#include "kernels/compressor/compressor.cuh"

namespace sparkspan::kernels {

void EmulateCompressEntries(const CompressArguments& arguments) {
  simt::expect_launched(run_compress_entries(arguments, nullptr));
}
void EmulateCompressKeys(const CompressArguments& arguments) {
  simt::expect_launched(run_compress_keys(arguments, nullptr));
}
void EmulateRingWrite(const RingWriteArguments& arguments) {
  simt::expect_launched(run_ring_write(arguments, nullptr));
}

}  // namespace sparkspan::kernels
