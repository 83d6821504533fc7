#pragma once

#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "engine/base/log.h"
#include "engine/text/tokenizer.h"
#include "tests/golden_path.h"

// The published tokenizer, the demo model's, and golden case files.
namespace sparkspan::engine::text {

inline std::shared_ptr<const Tokenizer> LoadedTokenizer(const std::string& folder) {
  auto tokenizer = Tokenizer::Load(folder);
  CHECK(tokenizer.ok()) << tokenizer.status().message();
  return *std::move(tokenizer);
}

inline const Tokenizer& RealTokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer = LoadedTokenizer("tests/data/tokenizer");
  return *tokenizer;
}

inline const Tokenizer& DemoTokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer = LoadedTokenizer("deploy/demo/model");
  return *tokenizer;
}

// The text of a golden file.
inline std::string GoldenText(const std::string& file) {
  const auto path = tests::GoldenPath(file);
  CHECK(path.has_value()) << file;
  std::ifstream stream(*path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace sparkspan::engine::text
