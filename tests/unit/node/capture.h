// A Console whose two streams end in strings.
#pragma once

#include "node/console.h"
#include "os/clock.h"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace weir::node::test {

class Capture {
  public:
    Capture() {
        console.out = open_memstream(&out_bytes_, &out_size_);
        console.err = open_memstream(&err_bytes_, &err_size_);
        console.clock = &clock_;
    }
    ~Capture() {
        std::fclose(console.out);
        std::fclose(console.err);
        std::free(out_bytes_);
        std::free(err_bytes_);
    }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    std::string out() const {
        std::fflush(console.out);
        return {out_bytes_, out_size_};
    }
    std::string err() const {
        std::fflush(console.err);
        return {err_bytes_, err_size_};
    }

    Console console;

  private:
    os::RealClock clock_;
    char* out_bytes_ = nullptr;
    std::size_t out_size_ = 0;
    char* err_bytes_ = nullptr;
    std::size_t err_size_ = 0;
};

}  // namespace weir::node::test
