#include "kernels/indexer/index_score.cuh"
#include "kernels/indexer/select.cuh"
#include "kernels/indexer/select.h"
#include "kernels/indexer/top_k.cuh"

namespace sparkspan::kernels {

void EmulateIndexQuery(const IndexQueryArguments& arguments) {
  simt::expect_launched(run_index_query(arguments, nullptr));
}
void EmulateIndexScore(const IndexScoreArguments& arguments) {
  simt::expect_launched(run_index_score(arguments, nullptr));
}
void EmulateTopK(const TopKArguments& arguments) {
  simt::expect_launched(run_top_k(arguments, nullptr));
}
void EmulateSelect(const SelectArguments& arguments) {
  simt::expect_launched(run_select(arguments, nullptr));
}

}  // namespace sparkspan::kernels
