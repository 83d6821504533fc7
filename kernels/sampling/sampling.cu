#include "kernels/sampling/draft.cuh"
#include "kernels/sampling/sample.cuh"
#include "kernels/sampling/sampling.cuh"

namespace sparkspan::kernels {

int LaunchPick(const PickArguments& arguments, void* stream) {
  return run_pick(arguments, stream);
}
int LaunchAccept(const AcceptArguments& arguments, void* stream) {
  return run_accept(arguments, stream);
}
int LaunchDraftTurn(const DraftTurnArguments& arguments, void* stream) {
  return run_draft_turn(arguments, stream);
}
int LaunchMeasureScores(const SampleArguments& arguments, void* stream) {
  return run_measure_scores(arguments, stream);
}
int LaunchCountScores(const CountScoresArguments& arguments, void* stream) {
  return run_count_scores(arguments, stream);
}
int LaunchDrawTokens(const SampleArguments& arguments, void* stream) {
  return run_draw_tokens(arguments, stream);
}

}  // namespace sparkspan::kernels
