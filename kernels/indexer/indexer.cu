#include "kernels/indexer/index_score.cuh"
#include "kernels/indexer/select.cuh"
#include "kernels/indexer/select.h"
#include "kernels/indexer/top_k.cuh"

namespace sparkspan::kernels {

int LaunchIndexQuery(const IndexQueryArguments& arguments, void* stream) {
  return run_index_query(arguments, stream);
}
int LaunchIndexScore(const IndexScoreArguments& arguments, void* stream) {
  return run_index_score(arguments, stream);
}
int LaunchTopK(const TopKArguments& arguments, void* stream) {
  return run_top_k(arguments, stream);
}
int LaunchSelect(const SelectArguments& arguments, void* stream) {
  return run_select(arguments, stream);
}

}  // namespace sparkspan::kernels
