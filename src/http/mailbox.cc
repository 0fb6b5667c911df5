#include "http/detail/mailbox.h"

#include <cerrno>
#include <sys/eventfd.h>
#include <unistd.h>

namespace weir::http {

Result<std::shared_ptr<Mailbox>> Mailbox::make() {
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return Error{Errc::io, "no eventfd for the HTTP door", errno};
    return std::shared_ptr<Mailbox>(new Mailbox(fd));
}

Mailbox::~Mailbox() {
    ::close(fd_);
}

void Mailbox::post(Mail&& mail) {
    inbox_.post(std::move(mail));
    if (signalled_.exchange(true)) return;  // a wake-up is under way and will see this mail
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
}

void Mailbox::drain(std::vector<Mail>& out) {
    std::uint64_t count;
    [[maybe_unused]] const auto taken = ::read(fd_, &count, sizeof count);
    signalled_.store(false);  // before taking the mail: what is posted from here on signals again
    inbox_.drain(out);
}

}  // namespace weir::http
