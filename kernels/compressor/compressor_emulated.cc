#include "kernels/compressor/compressor.cuh"

namespace sparkspan::kernels {

void EmulateCompressEntries(const CompressArguments& arguments) {
  run_compress_entries(arguments, nullptr);
}
void EmulateCompressKeys(const CompressArguments& arguments) {
  run_compress_keys(arguments, nullptr);
}
void EmulateRingWrite(const RingWriteArguments& arguments) {
  run_ring_write(arguments, nullptr);
}

}  // namespace sparkspan::kernels
