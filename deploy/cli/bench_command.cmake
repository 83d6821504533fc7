sparkspan_library(
  deploy_cli_bench
  SRCS bench_checkpoint.cc bench_command.cc bench_exchange.cc bench_options.cc bench_report.cc
       bench_step.cc read_bandwidth.cc weight_traffic.cc
  DEPS sparkspan::engine_model sparkspan::engine_runtime sparkspan::engine_schedule
       sparkspan::engine_weights sparkspan::engine_base absl::status absl::statusor
  PRIVATE_DEPS sparkspan::deploy_cli_flags sparkspan::engine_collective sparkspan::engine_fabric
               sparkspan::engine_plan_codec sparkspan::kernels_cpu absl::str_format
               nlohmann_json::nlohmann_json)
