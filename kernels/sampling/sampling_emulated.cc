#include "kernels/sampling/draft.cuh"
#include "kernels/sampling/sample.cuh"
#include "kernels/sampling/sampling.cuh"

namespace sparkspan::kernels {

void EmulatePick(const PickArguments& arguments) {
  simt::expect_launched(run_pick(arguments, nullptr));
}
void EmulateAccept(const AcceptArguments& arguments) {
  simt::expect_launched(run_accept(arguments, nullptr));
}
void EmulateDraftTurn(const DraftTurnArguments& arguments) {
  simt::expect_launched(run_draft_turn(arguments, nullptr));
}
void EmulateMeasureScores(const SampleArguments& arguments) {
  simt::expect_launched(run_measure_scores(arguments, nullptr));
}
void EmulateCountScores(const CountScoresArguments& arguments) {
  simt::expect_launched(run_count_scores(arguments, nullptr));
}
void EmulateDrawTokens(const SampleArguments& arguments) {
  simt::expect_launched(run_draw_tokens(arguments, nullptr));
}

}  // namespace sparkspan::kernels
