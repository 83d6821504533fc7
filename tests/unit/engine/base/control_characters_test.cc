#include "engine/base/control_characters.h"

#include <gtest/gtest.h>

#include <string>

namespace sparkspan::engine {
namespace {

TEST(ControlCharacters, AreThoseBelowASpaceAndDel) {
  for (int byte = 0; byte < 256; ++byte) {
    const bool expected = byte < 0x20 || byte == 0x7F;
    EXPECT_EQ(IsControlCharacter(static_cast<char>(byte)), expected) << byte;
    EXPECT_EQ(HasControlCharacters(std::string("a") + static_cast<char>(byte)), expected) << byte;
  }
  EXPECT_FALSE(HasControlCharacters(""));
}

}  // namespace
}  // namespace sparkspan::engine
