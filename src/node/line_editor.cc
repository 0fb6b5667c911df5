#include "node/line_editor.h"

#include "node/console.h"
#include "node/statement_history.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <cwchar>
#include <histedit.h>
#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>
#include <utility>

namespace weir::node {
namespace {

constexpr std::size_t listed_max = 100;
constexpr std::size_t list_width = 78;

// libedit decodes what is typed by LC_CTYPE; in the "C" locale every letter beyond ASCII would be lost.
void take_encoding() {
    std::setlocale(LC_CTYPE, "");
    if (std::string_view(nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");
}

std::string in_columns(const std::vector<std::string>& words) {
    std::size_t widest = 0;
    for (const std::string& word : words)
        widest = std::max(widest, word.size() + 2);
    const std::size_t columns = std::max<std::size_t>(1, list_width / widest);
    const std::size_t shown = std::min(words.size(), listed_max);
    std::string text;
    for (std::size_t i = 0; i < shown; ++i) {
        text += printable(words[i]);
        const bool last = i + 1 == shown || (i + 1) % columns == 0;
        text += last ? "\n" : std::string(widest - words[i].size(), ' ');
    }
    if (shown < words.size()) text += "and " + std::to_string(words.size() - shown) + " more\n";
    return text;
}

}  // namespace

struct LineEditor::State {
    std::FILE* in = nullptr;
    std::FILE* out = nullptr;
    os::StopSignals* signals = nullptr;
    CompleteFn complete;
    EditLine* edit = nullptr;
    History* history = nullptr;
    std::string prompt;
    Read came = Read::line;  // why the last read stopped
    std::mbstate_t decoding{};

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        if (edit != nullptr) el_end(edit);
        if (history != nullptr) history_end(history);
    }

    static State& of(EditLine* edit) {
        void* self = nullptr;
        el_get(edit, EL_CLIENTDATA, &self);
        return *static_cast<State*>(self);
    }
    static char* prompt_of(EditLine* edit) { return of(edit).prompt.data(); }

    // 1: a character; 0: the end; -1: stop reading, `came` says why. Waits for keys and for signals alike: a handler
    // may run anywhere, this may not.
    static int next_character(EditLine* edit, wchar_t* character) {
        State& self = of(edit);
        for (;;) {
            pollfd waits[2] = {{fileno(self.in), POLLIN, 0}, {self.signals->fd(), POLLIN, 0}};
            if (::poll(waits, 2, -1) < 0) {
                if (errno == EINTR) continue;
                return self.stop(Read::ended);
            }
            if (waits[1].revents != 0) {
                const Result<int> signal = self.signals->wait(0);
                return self.stop(signal && signal.value() == SIGINT ? Read::interrupted : Read::ended);
            }
            char byte = 0;
            const ssize_t got = ::read(fileno(self.in), &byte, 1);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return self.stop(Read::ended);
            const std::size_t used = std::mbrtowc(character, &byte, 1, &self.decoding);
            if (used == static_cast<std::size_t>(-2)) continue;  // more bytes make one letter
            if (used == static_cast<std::size_t>(-1)) {
                self.decoding = {};
                *character = L'\xfffd';
            }
            return 1;
        }
    }
    int stop(Read why) {
        came = why;
        return -1;
    }

    static unsigned char on_tab(EditLine* edit, int) {
        State& self = of(edit);
        const LineInfo* line = el_line(edit);
        const std::string_view typed(line->buffer, static_cast<std::size_t>(line->cursor - line->buffer));
        const SqlCompletion found = self.complete(typed);
        if (found.candidates.empty()) return CC_REFRESH_BEEP;
        const std::string word(typed.substr(found.from));
        std::string common = common_beginning(found.candidates);
        const bool only = found.candidates.size() == 1;
        if (common.size() >= word.size() && (only || common.size() > word.size())) {
            if (only && common.back() != '(') common += ' ';
            const auto letters =
                static_cast<int>(std::ranges::count_if(word, [](char c) { return (c & 0xc0) != 0x80; }));
            if (letters > 0) el_deletestr(edit, letters);
            if (el_insertstr(edit, common.c_str()) == -1) return CC_ERROR;
            return CC_REFRESH;
        }
        const std::string list = "\n" + in_columns(found.candidates);
        std::fwrite(list.data(), 1, list.size(), self.out);
        std::fflush(self.out);
        return CC_REDISPLAY;
    }
};

LineEditor::LineEditor(std::unique_ptr<State> state) : state_(std::move(state)) {}
LineEditor::LineEditor(LineEditor&&) noexcept = default;
LineEditor::~LineEditor() = default;

Result<LineEditor> LineEditor::open(std::FILE* in, std::FILE* out, std::FILE* err, os::StopSignals& signals,
                                    CompleteFn complete) {
    take_encoding();
    auto state = std::make_unique<State>();
    state->in = in;
    state->out = out;
    state->signals = &signals;
    state->complete = std::move(complete);
    state->edit = el_init("weir", in, out, err);
    state->history = history_init();
    if (state->edit == nullptr || state->history == nullptr) {
        return Error{Errc::io, "this terminal cannot be driven (TERM=...): give the statement as an argument"};
    }
    HistEvent event{};
    ::history(state->history, &event, H_SETSIZE, static_cast<int>(history_entries_max));
    ::history(state->history, &event, H_SETUNIQUE, 1);
    EditLine* const edit = state->edit;
    el_set(edit, EL_CLIENTDATA, state.get());
    el_set(edit, EL_EDITOR, "emacs");
    el_set(edit, EL_SIGNAL, 0);
    el_set(edit, EL_PROMPT, &State::prompt_of);
    el_set(edit, EL_HIST, ::history, state->history);
    el_set(edit, EL_GETCFN, &State::next_character);
    el_set(edit, EL_ADDFN, "weir-complete", "completes the word", &State::on_tab);
    el_set(edit, EL_BIND, "\t", "weir-complete", nullptr);
    el_set(edit, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_set(edit, EL_BIND, "^W", "ed-delete-prev-word", nullptr);
    for (const char* key : {"\033[1;5D", "\033b"})
        el_set(edit, EL_BIND, key, "ed-prev-word", nullptr);
    for (const char* key : {"\033[1;5C", "\033f"})
        el_set(edit, EL_BIND, key, "em-next-word", nullptr);
    el_set(edit, EL_BIND, "\033[3~", "ed-delete-next-char", nullptr);
    return LineEditor(std::move(state));
}

LineEditor::Read LineEditor::read(const std::string& prompt, std::string& line) {
    State& state = *state_;
    state.prompt = prompt;
    state.came = Read::ended;
    state.decoding = {};
    el_resize(state.edit);
    el_set(state.edit, EL_PREP_TERM, 1);  // before the prompt shows: whoever waits for it is heard
    int count = 0;
    const char* text = el_gets(state.edit, &count);
    if (text == nullptr || count <= 0) {
        std::fputc('\n', state.out);
        std::fflush(state.out);
        return state.came;
    }
    line.assign(text, static_cast<std::size_t>(count));
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r'))
        line.pop_back();
    return Read::line;
}

void LineEditor::remember(const std::string& entry) {
    HistEvent event{};
    ::history(state_->history, &event, H_ENTER, entry.c_str());
}

}  // namespace weir::node
