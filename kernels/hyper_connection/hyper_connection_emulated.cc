#include "kernels/hyper_connection/hyper_connection.cuh"

namespace sparkspan::kernels {

void EmulateMix(const MixArguments& arguments) {
  run_mix(arguments, nullptr);
}
void EmulatePre(const PreArguments& arguments) {
  run_pre(arguments, nullptr);
}
void EmulatePost(const PostArguments& arguments) {
  run_post(arguments, nullptr);
}

}  // namespace sparkspan::kernels
