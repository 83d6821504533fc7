sparkspan_library(
  deploy_cli_bench
  SRCS bench_cases.cc bench_checkpoint.cc bench_command.cc bench_draft.cc bench_draft_options.cc
       bench_draft_report.cc bench_exchange.cc bench_options.cc bench_report.cc bench_step.cc
       draft_driver.cc read_bandwidth.cc weight_traffic.cc
  DEPS sparkspan::engine_draft sparkspan::engine_model sparkspan::engine_runtime
       sparkspan::engine_schedule sparkspan::engine_weights sparkspan::engine_base absl::status
       absl::statusor
  PRIVATE_DEPS sparkspan::deploy_cli_flags sparkspan::deploy_cli_text sparkspan::engine_calibrate
               sparkspan::engine_collective sparkspan::engine_fabric sparkspan::engine_plan_codec
               sparkspan::engine_text sparkspan::kernels_cpu absl::str_format
               nlohmann_json::nlohmann_json)
