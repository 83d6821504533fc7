#include "engine/weights/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/weights/rank_weights.h"
#include "tests/golden_path.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

// What opening and loading a folder says.
std::string ErrorOf(const std::filesystem::path& folder, const RankShare& share = {}) {
  const auto checkpoint = Checkpoint::Open(folder);
  if (!checkpoint.ok()) {
    return std::string(checkpoint.status().message());
  }
  return std::string(LoadRank(**checkpoint, share).status().message());
}

// A generated checkpoint that a test damages.
class BrokenCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override { Generate(tests::SmallDsparkShape()); }

  void Generate(const ModelShape& shape, bool single_file = false) {
    const absl::Status status =
        GenerateCheckpoint(shape, folder_.path(), {.single_file = single_file});
    ASSERT_TRUE(status.ok()) << status.message();
  }

  std::string Error(const RankShare& share = {}) { return ErrorOf(folder_.path(), share); }

  // Writes one shard again: its tensors changed by `change`, all zeros.
  void Rewrite(const std::string& file,
               const std::function<void(std::vector<TensorSpec>&)>& change) {
    std::uint64_t bytes = 0;
    const auto entries = ReadSafetensorsHeader(folder_.path() / file, &bytes);
    ASSERT_TRUE(entries.ok());
    std::vector<TensorSpec> specs;
    for (const TensorEntry& entry : *entries) {
      specs.emplace_back().name = entry.name;
      specs.back().dtype = entry.dtype;
      specs.back().shape = entry.shape;
    }
    change(specs);
    const auto zeros = [](const TensorSpec&, std::uint64_t, std::span<std::byte> out) {
      std::fill(out.begin(), out.end(), std::byte{0});
    };
    ASSERT_TRUE(WriteSafetensors(folder_.path() / file, specs, zeros).ok());
  }

  void ChangeIndex(const std::function<void(json&)>& change) {
    json index = json::parse(tests::ReadText(folder_.path() / kIndex));
    change(index["weight_map"]);
    tests::WriteText(folder_.path() / kIndex, index.dump());
  }

  // Overwrites bytes of a tensor.
  void Poke(const std::string& name, std::uint64_t at, const std::string& bytes) {
    const auto index = CheckpointIndex::Open(folder_.path());
    ASSERT_TRUE(index.ok());
    const TensorLocation& location = index->tensors.at(name);
    std::fstream file(index->files[static_cast<std::size_t>(location.file)].path,
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(location.offset + at));
    file << bytes;
  }

  static std::string Shard(int number) {
    return "model-0000" + std::to_string(number) + "-of-00007.safetensors";
  }

  static constexpr const char* kIndex = "model.safetensors.index.json";
  tests::TemporaryFolder folder_;
};

TEST_F(BrokenCheckpoint, IsSoundBefore) {
  EXPECT_EQ(Error(), "");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  EXPECT_EQ((*checkpoint)->shape().draft, DraftKind::kDspark);
  EXPECT_EQ((*checkpoint)->shape().draft_stages, 2);
  EXPECT_EQ((*checkpoint)->index().files.size(), 7u);
}

TEST_F(BrokenCheckpoint, AShardIsMissing) {
  std::filesystem::remove(folder_.path() / Shard(3));
  EXPECT_THAT(Error(), HasSubstr("shard " + Shard(3) + " is missing, expected all 7 shards"));
}

TEST_F(BrokenCheckpoint, AShardIsNotNamed) {
  std::filesystem::copy(folder_.path() / Shard(3), folder_.path() / "model-more.safetensors");
  EXPECT_THAT(Error(), HasSubstr("found shard model-more.safetensors, which no index names"));
  std::filesystem::rename(folder_.path() / "model-more.safetensors",
                          folder_.path() / "vectors.safetensors");
  EXPECT_EQ(Error(), "");
}

TEST_F(BrokenCheckpoint, AShardIsTruncated) {
  const std::filesystem::path file = folder_.path() / Shard(2);
  const std::uintmax_t size = std::filesystem::file_size(file);
  for (const std::uintmax_t kept : {size - 1, std::uintmax_t{100}, std::uintmax_t{5}}) {
    std::filesystem::resize_file(file, kept);
    EXPECT_THAT(Error(), HasSubstr(Shard(2))) << kept;
  }
}

TEST_F(BrokenCheckpoint, AShardShrinksAfterItsHeaderWasRead) {
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok());
  std::filesystem::resize_file(folder_.path() / Shard(2), 4096);
  EXPECT_THAT(std::string(LoadRank(**checkpoint, {}).status().message()),
              AllOf(HasSubstr(Shard(2)), HasSubstr("is 4096 bytes, expected")));
}

TEST_F(BrokenCheckpoint, TheIndexIsMissing) {
  std::filesystem::remove(folder_.path() / kIndex);
  EXPECT_THAT(Error(), HasSubstr("found 7 shards without model.safetensors.index.json"));
}

TEST_F(BrokenCheckpoint, TheIndexNamesATensorThatIsNotThere) {
  ChangeIndex([](json& map) { map["ghost.weight"] = Shard(1); });
  EXPECT_THAT(Error(), HasSubstr("tensor ghost.weight is not in " + Shard(1)));
}

TEST_F(BrokenCheckpoint, TheIndexLacksATensor) {
  ChangeIndex([](json& map) { map.erase("norm.weight"); });
  EXPECT_THAT(Error(), HasSubstr("found tensor norm.weight in " + Shard(5)));
}

TEST_F(BrokenCheckpoint, TheIndexPlacesATensorElsewhere) {
  ChangeIndex([](json& map) { map["norm.weight"] = Shard(1); });
  EXPECT_THAT(Error(), HasSubstr("expected it in " + Shard(1)));
}

TEST_F(BrokenCheckpoint, TheIndexLeavesTheFolder) {
  ChangeIndex([](json& map) { map["norm.weight"] = "../other.safetensors"; });
  EXPECT_THAT(Error(), HasSubstr("the name of a .safetensors file beside the index"));
}

TEST_F(BrokenCheckpoint, ATensorIsMissing) {
  const std::string name = "layers.1.ffn.experts.2.w3.scale";
  Rewrite(Shard(3), [&](auto& specs) {
    std::erase_if(specs, [&](const TensorSpec& spec) { return spec.name == name; });
  });
  ChangeIndex([&](json& map) { map.erase(name); });
  EXPECT_THAT(Error(), HasSubstr("1 tensors that config.json implies are missing: " + name));
}

TEST_F(BrokenCheckpoint, ATensorIsUnknown) {
  const std::string name = "layers.0.engram.weight";
  Rewrite(Shard(2), [&](auto& specs) { specs.front().name = name; });
  ChangeIndex([&](json& map) { map[name] = Shard(2); });
  EXPECT_THAT(Error(), HasSubstr("is not in " + Shard(2)));  // the one it replaced
  Generate(tests::SmallDsparkShape());
  Rewrite(Shard(2), [&](auto& specs) { specs.emplace_back(specs.front()).name = name; });
  ChangeIndex([&](json& map) { map[name] = Shard(2); });
  EXPECT_THAT(Error(),
              HasSubstr("1 tensors that no part of the model by config.json uses: " + name));
}

TEST_F(BrokenCheckpoint, ATensorHasAnotherShapeOrType) {
  Rewrite(Shard(5), [](auto& specs) {
    for (TensorSpec& spec : specs) {
      if (spec.name == "norm.weight") {
        spec.shape = {128};
      }
    }
  });
  EXPECT_THAT(Error(), HasSubstr("tensor norm.weight is BF16 [128], expected BF16 [256]"));
  Rewrite(Shard(5), [](auto& specs) {
    for (TensorSpec& spec : specs) {
      if (spec.name == "norm.weight") {
        spec.shape = {256};
        spec.dtype = Dtype::kF32;
      }
    }
  });
  EXPECT_THAT(Error(), HasSubstr("tensor norm.weight is F32 [256], expected BF16 [256]"));
}

TEST_F(BrokenCheckpoint, ADraftTensorIsWrongThoughItIsNotLoaded) {
  Rewrite(Shard(7), [](auto& specs) {
    for (TensorSpec& spec : specs) {
      if (spec.name == "mtp.1.markov_head.markov_w2.weight") {
        spec.shape = {67, 64};
      }
    }
  });
  EXPECT_THAT(Error(),
              HasSubstr("tensor mtp.1.markov_head.markov_w2.weight is BF16 [67, 64], expected BF16 "
                        "[67, 32]"));
}

// Every tensor of the stages is needed, and no other is known, of either kind.
TEST_F(BrokenCheckpoint, ADraftTensorIsMissingOrUnknown) {
  ModelShape mtp = tests::SmallShape();
  mtp.draft = DraftKind::kMtp;
  mtp.draft_stages = 1;
  mtp.stage_ratios = 1;
  for (const ModelShape& shape : {tests::SmallDsparkShape(), mtp}) {
    const tests::TemporaryFolder sound;
    ASSERT_TRUE(GenerateCheckpoint(shape, folder_.path()).ok());
    std::filesystem::copy(folder_.path(), sound.path());
    const json map = json::parse(tests::ReadText(sound.path() / kIndex)).at("weight_map");
    const auto error = [&](const std::string& file, const std::string& name, bool add) {
      Rewrite(file, [&](auto& specs) {
        std::erase_if(specs, [&](const TensorSpec& spec) { return spec.name == name; });
        if (add) {
          specs.emplace_back().name = name;
          specs.back().dtype = Dtype::kBf16;
          specs.back().shape = {shape.vocabulary, shape.ops.hidden};
        }
      });
      ChangeIndex([&](json& names) {
        names.erase(name);
        if (add) {
          names[name] = file;
        }
      });
      const std::string found = Error();
      for (const std::string& restored : {file, std::string(kIndex)}) {
        std::filesystem::copy(sound.path() / restored,
                              folder_.path() / restored,
                              std::filesystem::copy_options::overwrite_existing);
      }
      return found;
    };
    for (const auto& [name, file] : map.items()) {
      // One expert stands for all.
      const bool other_expert = name.find(".experts.") != std::string::npos &&
                                name.find(".experts.3.") == std::string::npos;
      if (StageOfName(name) < 0 || other_expert) {
        continue;
      }
      const bool tells_the_kind = name == "mtp.0.main_proj.weight" || name == "mtp.0.e_proj.weight";
      EXPECT_THAT(
          error(file, name, false),
          HasSubstr(tells_the_kind ? "mtp.* tensors of no known kind"
                                   : "1 tensors that config.json implies are missing: " + name));
    }
    const std::string stage_file = map.at("mtp.0.attn_norm.weight");
    const std::string unknown = "1 tensors that no part of the model by config.json uses: ";
    for (const std::string name : {"mtp.0.attn.compressor.ape", "mtp.0.ffn.gate.tid2eid"}) {
      EXPECT_THAT(error(stage_file, name, true), HasSubstr(unknown + name));
    }
    // Requantised MTP files carry copies of what the target has; a DSpark file has none.
    for (const std::string name : {"mtp.0.head.weight", "mtp.0.emb.tok_emb.weight"}) {
      const std::string found = error(stage_file, name, true);
      if (shape.draft == DraftKind::kMtp) {
        EXPECT_EQ(found, "");
      } else {
        EXPECT_THAT(found, HasSubstr(unknown + name));
      }
    }
    std::filesystem::remove_all(folder_.path());
    std::filesystem::create_directory(folder_.path());
  }
}

TEST_F(BrokenCheckpoint, AScaleIsNan) {
  Poke("layers.2.ffn.experts.3.w2.scale", 2 * 12 + 7, "\xFF");
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("tensor layers.2.ffn.experts.3.w2.scale has the NaN code 0xFF at row "
                              "2, column 7"),
                    HasSubstr(Shard(4))));
  // Ranks whose slices do not hold it load: each checks what it reads.
  EXPECT_EQ(Error({0, 2, true, 128}), "");
  EXPECT_THAT(Error({1, 2, true, 128}), HasSubstr("experts.3.w2.scale"));
}

TEST_F(BrokenCheckpoint, AWeightIsNan) {
  Poke("layers.0.attn.wo_b.weight", 5 * 1024 + 700, "\x7F");
  EXPECT_THAT(Error({0, 2}), "");
  EXPECT_THAT(Error({1, 2}),
              HasSubstr("tensor layers.0.attn.wo_b.weight has the NaN code 0x7F at row 5, column "
                        "700"));
}

TEST_F(BrokenCheckpoint, ATableNamesAnExpertThatIsNotThere) {
  for (const std::string& id : {std::string("\5\0\0\0\0\0\0\0", 8), std::string(8, '\xFF')}) {
    Poke("layers.0.ffn.gate.tid2eid", 8 * (3 * 40 + 1), id);
    EXPECT_THAT(Error(),
                HasSubstr("tensor layers.0.ffn.gate.tid2eid sends token 40 to expert " +
                          std::string(id[0] == 5 ? "5" : "-1") + ", expected 0 to 4"));
  }
}

TEST_F(BrokenCheckpoint, DraftStagesDoNotFitTheConfig) {
  json config = json::parse(tests::ReadText(folder_.path() / "config.json"));
  const auto refused = [&](const char* key, const json& value) {
    json changed = config;
    changed[key] = value;
    tests::WriteText(folder_.path() / "config.json", changed.dump());
    return Error();
  };
  EXPECT_THAT(refused("dspark_block_size", nullptr),
              HasSubstr("config.json has no dspark_block_size"));
  EXPECT_THAT(refused("compress_ratios", {0, 4, 128, 0}),
              HasSubstr("2 stages, but compress_ratios in config.json has 1 entries"));
  EXPECT_THAT(refused("dspark_target_layer_ids", {0}),
              HasSubstr("tensor mtp.0.main_proj.weight is F8_E4M3 [256, 512]"));
}

TEST_F(BrokenCheckpoint, StagesHaveAGap) {
  std::filesystem::remove(folder_.path() / Shard(6));
  ChangeIndex([](json& map) {
    for (auto item = map.begin(); item != map.end();) {
      item = item.value() == Shard(6) ? map.erase(item) : std::next(item);
    }
  });
  EXPECT_THAT(Error(), HasSubstr("found mtp.1. but only 1 stages in all"));
}

TEST(Checkpoint, ReadsASingleFileAndAnMtpBlock) {
  const tests::TemporaryFolder folder;
  ModelShape shape = tests::SmallShape();
  shape.draft = DraftKind::kMtp;
  shape.draft_stages = 1;
  ASSERT_TRUE(GenerateCheckpoint(shape, folder.path(), {.single_file = true}).ok());
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ((*checkpoint)->shape().draft, DraftKind::kMtp);
  EXPECT_EQ((*checkpoint)->index().files.size(), 1u);
  EXPECT_EQ(ErrorOf(folder.path()), "");
}

TEST(Checkpoint, RefusesOtherFormats) {
  const tests::TemporaryFolder folder;
  tests::WriteText(folder.path() / "config.json", ConfigJson(tests::SmallShape()));
  EXPECT_THAT(ErrorOf(folder.path()), HasSubstr("found neither model.safetensors.index.json nor"));
  tests::WriteText(folder.path() / "model-Q4.gguf", "GGUF");
  EXPECT_THAT(ErrorOf(folder.path()), HasSubstr("GGUF files are not supported"));
  EXPECT_THAT(ErrorOf(folder.path() / "none"), HasSubstr("config.json is missing"));
}

TEST(Checkpoint, GoldenFoldersAreComplete) {
  const std::tuple<const char*, DraftKind, int> sets[] = {{"model-a", DraftKind::kNone, 0},
                                                          {"model-c", DraftKind::kNone, 0},
                                                          {"dspark-a", DraftKind::kDspark, 3},
                                                          {"dspark-c", DraftKind::kDspark, 2},
                                                          {"mtp-a", DraftKind::kMtp, 1}};
  std::string absent;
  for (const auto& [name, draft, stages] : sets) {
    const auto folder = tests::GoldenPath(name);
    if (!folder) {
      absent += std::string(" ") + name;
      continue;
    }
    const auto checkpoint = Checkpoint::Open(*folder);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_EQ((*checkpoint)->shape().draft, draft) << name;
    EXPECT_EQ((*checkpoint)->shape().draft_stages, stages) << name;
    const auto loaded = LoadRank(**checkpoint, {}, {.draft = true});
    ASSERT_TRUE(loaded.ok()) << name << ": " << loaded.status().message();
    EXPECT_EQ((*loaded)->plan().slices.size(), (*checkpoint)->index().tensors.size()) << name;
  }
  EXPECT_EQ(ErrorOf("deploy/demo/model"), "");
  if (!absent.empty()) {
    GTEST_SKIP() << "no golden data" << absent;
  }
}

}  // namespace
}  // namespace sparkspan::engine::weights
