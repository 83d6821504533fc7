#include "kernels/linear/prepared_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels {
namespace {

// Calls visit(row, column, tile) for every element of W, `tile` being the tile's first byte.
template <class Visit>
void ForEachElement(int n, int k, WeightFormat format, std::span<std::byte> prepared, Visit visit) {
  std::fill(prepared.begin(), prepared.end(), std::byte{0});
  const auto tile_bytes = static_cast<std::size_t>(32 * LaneBytes(format));
  const auto tiles_across = static_cast<std::size_t>(k / kTileColumns);
  for (int row = 0; row < n; ++row) {
    for (int column = 0; column < k; ++column) {
      const std::size_t tile = static_cast<std::size_t>(row / kTileRows) * tiles_across +
                               static_cast<std::size_t>(column / kTileColumns);
      visit(row, column, prepared.data() + tile * tile_bytes);
    }
  }
}

std::size_t At(int row, int column, int pitch) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(pitch) +
         static_cast<std::size_t>(column);
}

}  // namespace

void PrepareE4m3(std::span<const std::uint8_t> weight,
                 int n,
                 int k,
                 std::span<std::byte> prepared) {
  ForEachElement(n, k, WeightFormat::kE4m3, prepared, [&](int row, int column, std::byte* tile) {
    tile[TileByteE4m3(row % kTileRows, column % kTileColumns)] =
        std::byte{weight[At(row, column, k)]};
  });
}

void PrepareBf16(std::span<const std::uint16_t> weight,
                 int n,
                 int k,
                 std::span<std::byte> prepared) {
  ForEachElement(n, k, WeightFormat::kBf16, prepared, [&](int row, int column, std::byte* tile) {
    std::memcpy(tile + TileByteBf16(row % kTileRows, column % kTileColumns),
                &weight[At(row, column, k)],
                sizeof(std::uint16_t));
  });
}

void PrepareE2m1(std::span<const std::uint8_t> weight,
                 int n,
                 int k,
                 std::span<std::byte> prepared) {
  ForEachElement(n, k, WeightFormat::kE2m1, prepared, [&](int row, int column, std::byte* tile) {
    const unsigned pair = weight[At(row, column / 2, k / 2)];
    const unsigned code = column % 2 == 0 ? pair & 15U : pair >> 4;
    std::byte& target = tile[TileByteE2m1(row % kTileRows, column % kTileColumns)];
    target |= static_cast<std::byte>(row % kTileRows < 8 ? code : code << 4);
  });
}

void PrepareE2m1Scales(std::span<const std::uint8_t> scale,
                       int n,
                       int k,
                       std::span<std::byte> prepared) {
  // Rows that exist only as padding are multiplied by one.
  std::fill(prepared.begin(), prepared.end(), std::byte{127});
  const int groups = k / kScaleColumns;
  for (int row = 0; row < n; ++row) {
    for (int block = 0; block < k / kTileColumns; ++block) {
      const std::size_t group = At(row / kTileRows, block / 4, groups);
      prepared[group * 64 + static_cast<std::size_t>(row % kTileRows * 4 + block % 4)] =
          std::byte{scale[At(row, block, k / kTileColumns)]};
    }
  }
}

void PrepareBf16AsE4m3(std::span<const std::uint16_t> weight,
                       int n,
                       int k,
                       std::span<std::byte> prepared,
                       std::span<std::uint8_t> scale) {
  const int across = k / kScaleColumns;
  std::vector<float> largest(scale.size(), numerics::kE4m3AmaxMin);
  const auto block = [&](int row, int column) {
    return At(row / kScaleColumns, column / kScaleColumns, across);
  };
  for (int row = 0; row < n; ++row) {
    for (int column = 0; column < k; ++column) {
      float& amax = largest[block(row, column)];
      amax = std::max(amax, std::fabs(numerics::FloatOfBf16(weight[At(row, column, k)])));
    }
  }
  std::transform(largest.begin(), largest.end(), scale.begin(), [](float amax) {
    return static_cast<std::uint8_t>(numerics::Ue8m0ScaleOf(amax, numerics::kE4m3Max));
  });
  ForEachElement(n, k, WeightFormat::kE4m3, prepared, [&](int row, int column, std::byte* tile) {
    const float value = numerics::FloatOfBf16(weight[At(row, column, k)]) *
                        numerics::Ue8m0InverseOf(scale[block(row, column)]);
    tile[TileByteE4m3(row % kTileRows, column % kTileColumns)] =
        std::byte{numerics::E4m3OfFloat(value)};
  });
}

}  // namespace sparkspan::kernels
