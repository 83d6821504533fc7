#pragma once

#include <cstdint>

namespace sparkspan::kernels {

constexpr int kRouterExpertsMax = 512;
constexpr int kRouterChoicesMax = 16;

// Chooses each row's experts and their weights from the router's logits l (fp32, a linear product):
//   s_e = sqrt(softplus(l_e));  the `choices` largest s_e + bias_e are taken, equal ones by the
//   lowest id, in falling order;  weight_e = route_scale s_e / sum of the taken s.
// Hashed layers take the ids of a table instead and only weigh them.
struct RouterArguments {
  const float* logits;             // [rows, experts]
  const float* bias;               // [experts]; null for hashed layers
  const std::int32_t* hashed_ids;  // [rows, choices] of the rows' tokens; null for learned layers
  float route_scale;
  int rows;
  int experts;
  int choices;

  std::int32_t* ids;  // [rows, choices], out
  float* weights;     // [rows, choices], out
};

int LaunchRouter(const RouterArguments& arguments, void* stream);
void EmulateRouter(const RouterArguments& arguments);

}  // namespace sparkspan::kernels
