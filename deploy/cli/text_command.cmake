sparkspan_library(
  deploy_cli_text
  SRCS chat_case.cc text_cases.cc text_command.cc
  DEPS sparkspan::engine_text
  PRIVATE_DEPS absl::str_format nlohmann_json::nlohmann_json)
