#include "kernels/embedding/embedding.cuh"

namespace sparkspan::kernels {

void EmulateEmbed(const EmbedArguments& arguments) {
  simt::expect_launched(run_embed(arguments, nullptr));
}
void EmulateOpenStreams(const OpenStreamsArguments& arguments) {
  simt::expect_launched(run_open_streams(arguments, nullptr));
}
void EmulateStreamMean(const StreamMeanArguments& arguments) {
  simt::expect_launched(run_stream_mean(arguments, nullptr));
}

}  // namespace sparkspan::kernels
