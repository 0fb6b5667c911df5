// A folder of this test's own, removed with the object.
#pragma once

#include <filesystem>
#include <stdlib.h>
#include <string>

namespace weir::test {

class TempDir {
  public:
    TempDir() {
        const char* base = ::getenv("TMPDIR");
        path_ = std::string(base != nullptr ? base : "/tmp") + "/weir-test-XXXXXX";
        if (::mkdtemp(path_.data()) == nullptr) ::abort();
    }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    const std::string& path() const { return path_; }
    std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

}  // namespace weir::test
