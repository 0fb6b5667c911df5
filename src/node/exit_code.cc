#include "node/exit_code.h"

namespace weir::node {

Exit exit_of(Errc code) {
    switch (code) {
        case Errc::invalid_argument:
            return Exit::failed;
        case Errc::not_found:
            return Exit::not_found;
        case Errc::already_exists:
            return Exit::conflict;
        case Errc::conflict:
            return Exit::conflict;
        case Errc::too_large:
            return Exit::failed;
        case Errc::overloaded:
            return Exit::failed;
        case Errc::disk_full:
            return Exit::disk;
        case Errc::not_leader:
            return Exit::conflict;
        case Errc::recovering:
            return Exit::conflict;
        case Errc::building:
            return Exit::conflict;
        case Errc::timed_out:
            return Exit::timeout;
        case Errc::deadline:
            return Exit::timeout;
        case Errc::unauthorised:
            return Exit::unauthorised;
        case Errc::forbidden:
            return Exit::unauthorised;
        case Errc::unsupported:
            return Exit::failed;
        case Errc::corrupt:
            return Exit::disk;
        case Errc::io:
            return Exit::failed;
        case Errc::cancelled:
            return Exit::interrupted;
        case Errc::shutting_down:
            return Exit::unreachable;
    }
    return Exit::failed;
}

const char* exit_codes_text() {
    return "Exit codes of every command\n"
           "\n"
           "    0  ok\n"
           "    1  failed\n"
           "    2  usage or configuration\n"
           "    3  cannot reach the server\n"
           "    4  not authorised\n"
           "    5  not found\n"
           "    6  conflict, or no quorum\n"
           "    7  partial success (produce: some lines were rejected)\n"
           "   74  disk error, or disk full\n"
           "  124  timeout: the outcome may be unknown\n"
           "  130  interrupted (Ctrl-C)\n";
}

}  // namespace weir::node
