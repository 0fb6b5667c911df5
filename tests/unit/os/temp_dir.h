// A folder below $TMPDIR that is removed with the object.
#pragma once

#include <filesystem>
#include <stdlib.h>
#include <string>
#include <system_error>

namespace weir::testing {

class TempDir {
  public:
    TempDir() {
        const char* base = ::getenv("TMPDIR");
        path_ = std::string(base != nullptr ? base : "/tmp") + "/weir_os_XXXXXX";
        if (::mkdtemp(path_.data()) == nullptr) ::abort();  // CHECK is the test framework's word here
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

}  // namespace weir::testing
