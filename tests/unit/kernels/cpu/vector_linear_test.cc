#include "kernels/numerics/formats.h"
#include "kernels/reference/linear.h"
#include "tests/unit/kernels/cpu/arithmetic_cases.h"

namespace sparkspan::kernels::cpu {
namespace {

// Of the norms of the two vectors multiplied, which bounds the product however much of it cancels.
constexpr double kTolerance = 1e-6;

// A random weight in a stored format; e4m3 may start inside a scale block. Starts one byte past an
// aligned address: nothing may assume alignment.
class RandomWeight {
 public:
  RandomWeight(StoredFormat format,
               std::int64_t rows,
               std::int64_t columns,
               int row_offset,
               int column_offset,
               std::uint32_t seed) {
    std::mt19937 generator(seed);
    view_.format = format;
    view_.rows = rows;
    view_.columns = columns;
    view_.row_offset = row_offset;
    view_.column_offset = column_offset;
    const bool nibbles = format == StoredFormat::kE2m1;
    view_.scale_columns = nibbles ? columns / 32 : (column_offset + columns + 127) / 128;
    const std::int64_t scale_rows = nibbles ? rows : (row_offset + rows + 127) / 128;
    scales_.resize(static_cast<std::size_t>(scale_rows * view_.scale_columns));
    for (std::uint8_t& scale : scales_) {
      scale = static_cast<std::uint8_t>(118 + generator() % 8);
    }
    data_.resize(static_cast<std::size_t>(rows * view_.row_bytes()) + 1);
    FillData(generator);
    view_.data = data_.data() + 1;
    view_.scales = scales_.data();
  }

  const StoredWeight& view() const { return view_; }

 private:
  void FillData(std::mt19937& generator) {
    if (view_.format == StoredFormat::kF32 || view_.format == StoredFormat::kBf16) {
      const std::vector<float> values =
          RandomFloats(static_cast<std::size_t>(view_.rows * view_.columns),
                       static_cast<std::uint32_t>(generator()));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint16_t code = numerics::Bf16OfFloat(values[i]);
        if (view_.format == StoredFormat::kF32) {
          std::memcpy(&data_[1 + 4 * i], &values[i], 4);
        } else {
          std::memcpy(&data_[1 + 2 * i], &code, 2);
        }
      }
      return;
    }
    for (std::byte& byte : data_) {
      const auto code = static_cast<std::uint8_t>(generator());
      const bool nan = view_.format == StoredFormat::kE4m3 && (code & 0x7F) == 0x7F;
      byte = static_cast<std::byte>(nan ? 0 : code);
    }
  }

  StoredWeight view_;
  std::vector<std::byte> data_;
  std::vector<std::uint8_t> scales_;
};

std::vector<float> Multiply(const Arithmetic& arithmetic,
                            const StoredWeight& weight,
                            const std::vector<float>& x,
                            int rows) {
  SoloTeam team;
  std::vector<float> y(static_cast<std::size_t>(rows * weight.rows));
  const LinearTask task{weight, x.data(), weight.columns, nullptr, rows, y.data(), weight.rows};
  arithmetic.Linears({&task, 1}, team);
  return y;
}

double Norm(std::span<const float> values) {
  double squares = 0.0;
  for (const float value : values) {
    squares += static_cast<double>(value) * value;
  }
  return std::sqrt(squares);
}

class VectorLinear : public ::testing::TestWithParam<StoredFormat> {
 protected:
  double ErrorOf(const StoredWeight& weight, const std::vector<float>& x, int rows) const {
    const std::vector<float> actual = Multiply(*vector_, weight, x, rows);
    const std::vector<float> expected = Multiply(*reference_, weight, x, rows);
    const auto columns = static_cast<std::size_t>(weight.columns);
    std::vector<float> decoded(columns);
    double error = 0.0;
    for (std::int64_t n = 0; n < weight.rows; ++n) {
      reference::DecodeRow(weight, n, decoded);
      for (std::int64_t r = 0; r < rows; ++r) {
        const auto row = std::span(x).subspan(static_cast<std::size_t>(r) * columns, columns);
        const auto at = static_cast<std::size_t>(r * weight.rows + n);
        error = std::max(error,
                         std::fabs(static_cast<double>(actual[at]) - expected[at]) /
                             (Norm(decoded) * Norm(row)));
      }
    }
    return error;
  }

  const std::unique_ptr<Arithmetic> vector_ = MakeVectorArithmetic();
  const std::unique_ptr<Arithmetic> reference_ = MakeReferenceArithmetic();
};

TEST_P(VectorLinear, AgreesWithDoublesOverSizesAndOffsets) {
  double worst = 0.0;
  std::uint32_t seed = 1;
  for (const std::int64_t columns : {32, 96, 128, 160, 512, 544, 1056, 4128}) {
    for (const std::int64_t weight_rows : {1, 3, 4, 7, 130}) {
      for (const int offset : {0, 32, 96}) {
        for (const int rows : {1, 2, 3, 5, 49}) {
          const RandomWeight weight(
              GetParam(), weight_rows, columns, offset + offset / 16, offset, ++seed);
          const std::vector<float> x =
              RandomFloats(static_cast<std::size_t>(rows * columns), ++seed);
          if (rows * columns * weight_rows > 2000000) {
            continue;
          }
          worst = std::max(worst, ErrorOf(weight.view(), x, rows));
        }
      }
    }
  }
  std::printf("relative error %.1e of %.0e on %s\n", worst, kTolerance, VectorTargetName());
  EXPECT_LE(worst, kTolerance);
}

TEST_P(VectorLinear, ARowDoesNotDependOnItsNeighbours) {
  const RandomWeight weight(GetParam(), 37, 1056, 100, 32, 5);
  const std::vector<float> x = RandomFloats(70 * 1056, 6);
  const std::vector<float> together = Multiply(*vector_, weight.view(), x, 70);
  for (int row = 0; row < 70; ++row) {
    const std::vector<float> alone(x.begin() + row * 1056, x.begin() + (row + 1) * 1056);
    EXPECT_TRUE(SameBits(Multiply(*vector_, weight.view(), alone, 1),
                         std::span(together).subspan(static_cast<std::size_t>(row) * 37, 37)))
        << row;
  }
}

TEST_P(VectorLinear, EveryInstructionSetGivesTheSameBits) {
  const RandomWeight weight(GetParam(), 37, 1056, 100, 32, 7);
  const std::vector<float> x = RandomFloats(5 * 1056, 8);
  for (const int rows : {1, 5}) {
    ExpectEqualOnEveryTarget([&] { return Multiply(*vector_, weight.view(), x, rows); });
  }
}

TEST_P(VectorLinear, TakesRowsByIndexAndManyTasksAtOnce) {
  const RandomWeight first(GetParam(), 20, 128, 0, 0, 9);
  const RandomWeight second(GetParam(), 9, 128, 64, 0, 10);
  const std::vector<float> x = RandomFloats(6 * 128, 11);
  const std::vector<std::int32_t> index = {5, 0, 5};
  std::vector<float> gathered;
  for (const std::int32_t row : index) {
    gathered.insert(gathered.end(), x.begin() + row * 128, x.begin() + (row + 1) * 128);
  }
  std::vector<float> y(3 * 20), z(9), none(1, 7.0f);
  const LinearTask tasks[] = {{first.view(), x.data(), 128, index.data(), 3, y.data(), 20},
                              {first.view(), x.data(), 128, nullptr, 0, none.data(), 20},
                              {second.view(), x.data() + 128, 128, nullptr, 1, z.data(), 9}};
  SoloTeam team;
  vector_->Linears(tasks, team);
  EXPECT_TRUE(SameBits(y, Multiply(*vector_, first.view(), gathered, 3)));
  EXPECT_TRUE(SameBits(z, Multiply(*vector_, second.view(), {x.begin() + 128, x.end()}, 1)));
  EXPECT_EQ(none[0], 7.0f);
}

std::string FormatName(const ::testing::TestParamInfo<StoredFormat>& tested) {
  constexpr const char* kNames[] = {"F32", "Bf16", "E4m3", "E2m1"};
  return kNames[static_cast<int>(tested.param)];
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         VectorLinear,
                         ::testing::Values(StoredFormat::kF32,
                                           StoredFormat::kBf16,
                                           StoredFormat::kE4m3,
                                           StoredFormat::kE2m1),
                         FormatName);

TEST(VectorDecode, EveryCodeIsExact) {
  std::vector<std::uint8_t> codes(256);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(i);
  }
  std::vector<float> values(512);
  VectorDecodeE4m3(codes, 0.5f, values.data());
  for (std::size_t i = 0; i < 256; ++i) {
    if ((i & 0x7F) != 0x7F) {  // NaN codes are refused when a checkpoint is loaded.
      EXPECT_EQ(values[i], numerics::FloatOfE4m3(codes[i]) * 0.5f) << i;
    }
  }
  VectorDecodeE2m1(codes, 4.0f, values.data());
  for (std::size_t i = 0; i < 512; ++i) {
    const std::uint32_t code = codes[i / 2] >> (i % 2 * 4) & 15u;
    EXPECT_EQ(values[i], numerics::FloatOfE2m1(code) * 4.0f) << i;
  }
}

}  // namespace
}  // namespace sparkspan::kernels::cpu
