#include "kernels/embedding/embedding.cuh"

namespace sparkspan::kernels {

int LaunchEmbed(const EmbedArguments& arguments, void* stream) {
  return run_embed(arguments, stream);
}
int LaunchOpenStreams(const OpenStreamsArguments& arguments, void* stream) {
  return run_open_streams(arguments, stream);
}
int LaunchStreamMean(const StreamMeanArguments& arguments, void* stream) {
  return run_stream_mean(arguments, stream);
}

}  // namespace sparkspan::kernels
