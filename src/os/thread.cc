#include "os/thread.h"

#include <algorithm>
#include <cstring>
#include <pthread.h>

namespace weir::os {

void name_this_thread(std::string_view name) {
    char text[16] = {};
    std::memcpy(text, name.data(), std::min(name.size(), sizeof text - 1));
    // Cannot fail for the calling thread and a text that fits; if it does, the thread keeps its parent's name.
    (void)::pthread_setname_np(::pthread_self(), text);
}

}  // namespace weir::os
