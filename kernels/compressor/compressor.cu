#include "kernels/compressor/compressor.cuh"

namespace sparkspan::kernels {

int LaunchCompressEntries(const CompressArguments& arguments, void* stream) {
  return run_compress_entries(arguments, stream);
}
int LaunchCompressKeys(const CompressArguments& arguments, void* stream) {
  return run_compress_keys(arguments, stream);
}
int LaunchRingWrite(const RingWriteArguments& arguments, void* stream) {
  return run_ring_write(arguments, stream);
}

}  // namespace sparkspan::kernels
