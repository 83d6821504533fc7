sparkspan_library(
  deploy_cli_draft
  SRCS draft_command.cc draft_options.cc
  DEPS sparkspan::deploy_cli_case_run sparkspan::deploy_cli_tensor_file sparkspan::engine_draft
       sparkspan::engine_model sparkspan::engine_collective
  PRIVATE_DEPS sparkspan::deploy_cli_flags absl::str_format)
