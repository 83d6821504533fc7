#include "kernels/sampling/draft.cuh"
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

}  // namespace sparkspan::kernels
