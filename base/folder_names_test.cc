#include "base/folder_names.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace rowmax::base {
namespace {

TEST(FolderNames, AreThoseOfTheFolderAlone) {
  const auto folder = std::filesystem::temp_directory_path() / ("rowmax_names_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder / "deeper" / "still");
  for (const char* name : {"b", ".hidden", "ü"}) std::ofstream(folder / name) << "x";
  auto names = names_in_folder(folder.string());
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{".hidden", "b", "deeper", "ü"}));
  std::filesystem::remove_all(folder);
  EXPECT_TRUE(names_in_folder(folder.string()).empty());
  EXPECT_EQ(names_in_folder("").size(), names_in_folder(".").size());
}

}  // namespace
}  // namespace rowmax::base
