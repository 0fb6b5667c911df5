#include "base/owned.h"

#undef CHECK
#include <catch2/catch_test_macros.hpp>

TEST_CASE("the first caller owns; after release another thread may") {
    weir::ThreadOwned owned;
    owned.assert_owner();
    owned.assert_owner();
    owned.release();
    std::thread other([&] { owned.assert_owner(); });
    other.join();
    owned.release();
    owned.assert_owner();
    SUCCEED();
}
