#include "node/root_key.h"

#include "node/console.h"
#include "node/setting_values.h"
#include "os/digest.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr std::size_t key_bytes_max = 1024;
constexpr std::size_t root_key_bytes_min = 20;  // of base 64 that is 120 bits

Error wrong(const std::string& path, std::string why) {
    return Error{Errc::invalid_argument, printable(path) + ' ' + std::move(why)};
}

}  // namespace

Result<std::string> read_key_file(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return wrong(path, std::string("cannot be read: ") + std::strerror(errno));
    struct stat facts {};
    std::array<char, key_bytes_max + 2> bytes{};
    ssize_t got = -1;
    const bool is_file = ::fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
    const bool is_private = is_file && (facts.st_mode & (S_IRWXG | S_IRWXO)) == 0;
    if (is_private) got = ::read(fd, bytes.data(), bytes.size());
    ::close(fd);
    if (!is_file) return wrong(path, "is not a file");
    if (!is_private) return wrong(path, "can be read by others: chmod 600 it");
    if (got < 0) return wrong(path, "cannot be read");
    std::string_view text = trimmed({bytes.data(), static_cast<std::size_t>(got)});
    while (text.ends_with('\n') || text.ends_with('\r'))
        text.remove_suffix(1);
    text = trimmed(text);
    const bool is_plain = std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
    std::string key(text);
    if (key.empty() || key.size() > key_bytes_max || !is_plain) {
        os::wipe(key);
        return wrong(path, "must hold one line: an API key of at most 1024 printable ASCII letters, without spaces");
    }
    return key;
}

Result<http::ApiKey> read_root_key(const std::string& path) {
    std::string key = TRY(read_key_file(path));
    if (key.size() < root_key_bytes_min) {
        os::wipe(key);
        return wrong(path, "holds a key that can be guessed: 20 letters at least (openssl rand -hex 32)");
    }
    http::ApiKey root{root_key_name, os::Sha256().of(key), http::Role::admin};
    os::wipe(key);
    return root;
}

}  // namespace weir::node
