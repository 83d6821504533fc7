#include "kernels/hyper_connection/hyper_connection.cuh"

namespace sparkspan::kernels {

void EmulateMix(const MixArguments& arguments) {
  simt::expect_launched(run_mix(arguments, nullptr));
}
void EmulatePre(const PreArguments& arguments) {
  simt::expect_launched(run_pre(arguments, nullptr));
}
void EmulatePost(const PostArguments& arguments) {
  simt::expect_launched(run_post(arguments, nullptr));
}
void EmulatePostMix(const PostMixArguments& arguments) {
  simt::expect_launched(run_post_mix(arguments, nullptr));
}

}  // namespace sparkspan::kernels
