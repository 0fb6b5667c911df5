#include "node/settings.h"

#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace weir::node {
namespace {

const char* const digest_a = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";  // of "abc"
const char* const digest_b = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";  // of ""

ConfigFile file_of(std::string_view text) {
    Result<ConfigFile> file = parse_config(text, "w.toml");
    if (!file) FAIL(file.error().detail);
    return std::move(file).value();
}

LoadedSettings loaded(const TextMap& flags, const TextMap& environment = {}, std::string_view file = {}) {
    Result<LoadedSettings> all = load_settings(flags, environment, file.empty() ? ConfigFile() : file_of(file));
    if (!all) FAIL(all.error().detail);
    return std::move(all).value();
}

std::string mistakes(const TextMap& flags, const TextMap& environment = {}, std::string_view file = {}) {
    const auto all = load_settings(flags, environment, file.empty() ? ConfigFile() : file_of(file));
    return all ? std::string() : all.error().detail;
}

const EffectiveSetting& setting(const LoadedSettings& all, std::string_view name) {
    const auto found = std::ranges::find(all.effective, name, &EffectiveSetting::name);
    if (found == all.effective.end()) FAIL("no setting " << name);
    return *found;
}

TEST_CASE("defaults hold without a word") {
    const LoadedSettings all = loaded({});
    const Settings& s = all.settings;
    CHECK(s.data_dir == "./weir-data");
    CHECK(s.http_listen == "127.0.0.1:8080");
    CHECK(s.node_id == "n1");
    CHECK(s.memory_bytes == 512ull << 20);
    CHECK(s.dedup_memory_bytes == 128ull << 20);
    CHECK(s.wal_bytes == 1ull << 30);
    CHECK(s.apply_lag_bytes == 1ull << 30);
    CHECK(s.undeclared_streams);
    CHECK_FALSE(s.insecure);
    CHECK(s.api_keys.empty());
    CHECK(all.warnings.empty());
    CHECK(all.effective.size() == setting_records().size());
    CHECK(setting(all, "limits.dedup_memory").value == "128MiB");
    CHECK(setting(all, "auth.mode").value == "auto");
    for (const EffectiveSetting& one : all.effective) {
        CHECK(one.origin == Origin::built_in);
        CHECK(one.source.empty());
    }
}

TEST_CASE("every record's default is something that it accepts, and has a name of its own") {
    std::vector<std::string> names, variables;
    for (const SettingRecord& record : setting_records()) {
        INFO(setting_name(record));
        names.push_back(setting_name(record));
        variables.push_back(environment_name(record));
        CHECK(load_settings({}, {{environment_name(record), record.default_text}}));
        CHECK(std::string_view(record.help).size() > 0);
        CHECK(std::string_view(record.allowed).size() > 0);
        CHECK((record.argument[0] == '\0') == (record.flag[0] == '\0' || record.type == SettingType::boolean));
    }
    for (auto* all : {&names, &variables}) {
        std::ranges::sort(*all);
        CHECK(std::ranges::adjacent_find(*all) == all->end());
    }
}

TEST_CASE("a flag wins over the environment, which wins over the file, which wins over the default") {
    struct Case {
        const char* flag;
        const char* variable;
        const char* file;
        const char* want;
        Origin origin;
        const char* source;
    };
    for (const Case& c : std::initializer_list<Case>{
             {nullptr, nullptr, nullptr, "n1", Origin::built_in, ""},
             {nullptr, nullptr, "[node]\nid = \"f\"", "f", Origin::file, "w.toml:2"},
             {nullptr, "e", nullptr, "e", Origin::environment, "WEIR_NODE_ID"},
             {nullptr, "e", "[node]\nid = \"f\"", "e", Origin::environment, "WEIR_NODE_ID"},
             {"g", nullptr, nullptr, "g", Origin::flag, "--node-id"},
             {"g", nullptr, "node.id = \"f\"", "g", Origin::flag, "--node-id"},
             {"g", "e", nullptr, "g", Origin::flag, "--node-id"},
             {"g", "e", "node = { id = \"f\" }", "g", Origin::flag, "--node-id"},
         }) {
        TextMap flags, environment;
        if (c.flag != nullptr) flags["--node-id"] = c.flag;
        if (c.variable != nullptr) environment["WEIR_NODE_ID"] = c.variable;
        const LoadedSettings all = loaded(flags, environment, c.file == nullptr ? "" : c.file);
        INFO(c.want << " " << c.source);
        CHECK(all.settings.node_id == c.want);
        CHECK(setting(all, "node.id").value == c.want);
        CHECK(setting(all, "node.id").origin == c.origin);
        CHECK(setting(all, "node.id").source == c.source);
    }
    CHECK(std::string(origin_name(Origin::built_in)) == "default");
    CHECK(std::string(origin_name(Origin::file)) == "file");
    CHECK(std::string(origin_name(Origin::environment)) == "env");
    CHECK(std::string(origin_name(Origin::flag)) == "flag");
}

TEST_CASE("every setting can be said in the file and by its variable, and shows alike") {
    struct Case {
        const char* file;
        const char* variable;
        const char* text;
        const char* name;
        const char* want;
    };
    for (const Case& c : std::initializer_list<Case>{
             {"node.data_dir = \"/d\"", "WEIR_NODE_DATA_DIR", "/d", "node.data_dir", "/d"},
             {"node.id = \"n-2\"", "WEIR_NODE_ID", " n-2 ", "node.id", "n-2"},
             {"http.listen = \"[::1]:0\"", "WEIR_HTTP_LISTEN", "[::1]:0", "http.listen", "[::1]:0"},
             {"insecure = true", "WEIR_INSECURE", "yes", "insecure", "true"},
             {"http.hosts = [\"a.b\", \"c\"]", "WEIR_HTTP_HOSTS", "a.b,c,", "http.hosts", "a.b, c"},
             {"http.origins = [\"https://a:8\"]", "WEIR_HTTP_ORIGINS", "https://a:8", "http.origins", "https://a:8"},
             {"auth.mode = \"none\"", "WEIR_AUTH_MODE", "none", "auth.mode", "none"},
             {"auth.root_key_file = \"\"", "WEIR_AUTH_ROOT_KEY_FILE", "", "auth.root_key_file", ""},
             {"limits.memory = \"1.5 GiB\"", "WEIR_LIMITS_MEMORY", "1536MiB", "limits.memory", "1536MiB"},
             {"limits.dedup_memory = \"5MB\"", "WEIR_LIMITS_DEDUP_MEMORY", "5000KB", "limits.dedup_memory", "5MB"},
             {"storage.wal_bytes = \"2GiB\"", "WEIR_STORAGE_WAL_BYTES", "2GiB", "storage.wal_bytes", "2GiB"},
             {"storage.apply_lag_bytes = \"80MiB\"", "WEIR_STORAGE_APPLY_LAG_BYTES", "83886080",
              "storage.apply_lag_bytes", "80MiB"},
             {"storage.fsync = \"quorum\"", "WEIR_STORAGE_FSYNC", "quorum", "storage.fsync", "quorum"},
             {"streams.undeclared = \"deny\"", "WEIR_STREAMS_UNDECLARED", "deny", "streams.undeclared", "deny"},
         }) {
        INFO(c.name);
        CHECK(setting(loaded({}, {}, c.file), c.name).value == c.want);
        CHECK(setting(loaded({}, {}, c.file), c.name).origin == Origin::file);
        CHECK(setting(loaded({}, {{c.variable, c.text}}), c.name).value == c.want);
        CHECK(setting(loaded({}, {{c.variable, c.text}}), c.name).origin == Origin::environment);
    }
    const LoadedSettings all =
        loaded({}, {{"WEIR_LIMITS_DEDUP_MEMORY", "1GiB"}},
               "insecure = true\nhttp.hosts = [\"a\"]\nstreams.undeclared = \"deny\"\nlimits.memory = \"1GiB\"");
    CHECK(all.settings.insecure);
    CHECK_FALSE(all.settings.undeclared_streams);
    CHECK(all.settings.http_hosts == std::vector<std::string>{"a"});
    CHECK(all.settings.dedup_memory_bytes == all.settings.memory_bytes);
}

TEST_CASE("an unknown key is an error with its line, and what was perhaps meant") {
    const auto says = [](std::string_view file, const char* want) {
        INFO(file);
        CHECK(mistakes({}, {}, file) == want);
    };
    says("\n[http]\nlistn = \"127.0.0.1:1\"", "w.toml:3: unknown key http.listn; did you mean http.listen?");
    says("[htpp]\nlisten = \"127.0.0.1:1\"", "w.toml:2: unknown key htpp.listen; did you mean http.listen?");
    says("[limits]\ndata_dir = \"x\"", "w.toml:2: unknown key limits.data_dir; did you mean node.data_dir?");
    says("listen = \"x\"", "w.toml:1: unknown key listen; did you mean http.listen?");
    says("[http]\ninsecure = true", "w.toml:2: unknown key http.insecure; did you mean insecure, above all sections?");
    says("unsecure = true", "w.toml:1: unknown key unsecure; did you mean insecure?");
    says("zzzzzzzzzzzzzzz = 1", "w.toml:1: unknown key zzzzzzzzzzzzzzz");
    // A door that is not built has no key.
    says("[kafka]\nlisten = \"127.0.0.1:9092\"",
         "w.toml:2: unknown key kafka.listen; this version has the sections node, http, auth, limits, storage, "
         "streams");
    says("[kafka]\n", "w.toml:1: unknown section [kafka]; there are node, http, auth, limits, storage, streams");
    says("[nodes]\n", "w.toml:1: unknown section [nodes]; did you mean [node]?");
    says("[[streams]]\nname = \"orders\"", "w.toml:1: streams is a section: write [streams], once");
    says("[\"a\\u001b\"]\nb = 1",
         "w.toml:2: unknown key a\\x1b.b; this version has the sections node, http, auth, limits, storage, streams");
    says("[http]\nlisten.port = 1",
         "w.toml:2: http.listen: expected a string (an address such as 127.0.0.1:8080 or [::1]:8080), not a table");
}

TEST_CASE("a wrong type, unit or range in the file says file:line, the key and what is allowed") {
    const auto says = [](std::string_view file, const char* want) {
        INFO(file);
        CHECK(mistakes({}, {}, file) == want);
    };
    says("[limits]\nmemory = 512",
         "w.toml:2: limits.memory = 512: expected a size in quotes, with its unit (a size such as 512MiB, 64MiB at "
         "least), not an integer");
    says("[limits]\nmemory = true",
         "w.toml:2: limits.memory = true: expected a size in quotes, with its unit (a size such as 512MiB, 64MiB at "
         "least), not a boolean");
    says("limits.memory = \"512mb\"",
         "w.toml:1: limits.memory = \"512mb\": expected a size such as 512MiB, 64MiB at least");
    says("limits.memory = \"63MiB\"",
         "w.toml:1: limits.memory = \"63MiB\": expected a size such as 512MiB, 64MiB at least");
    says("limits.dedup_memory = \"1MiB\"",
         "w.toml:1: limits.dedup_memory = \"1MiB\": expected memory/4, or a size such as 128MiB, 4MiB at least");
    says("storage.wal_bytes = \"255MiB\"",
         "w.toml:1: storage.wal_bytes = \"255MiB\": expected a size such as 1GiB, 256MiB at least");
    says("storage.apply_lag_bytes = \"1KiB\"",
         "w.toml:1: storage.apply_lag_bytes = \"1KiB\": expected a size such as 1GiB, 80MiB at least");
    says("storage.fsync = \"never\"",
         "w.toml:1: storage.fsync = \"never\": expected quorum: nothing is acknowledged before it is on the disks of a "
         "majority");
    says("insecure = \"yes\"", "w.toml:1: insecure = yes: expected a boolean (true or false), not a string");
    says("streams.undeclared = \"maybe\"", "w.toml:1: streams.undeclared = \"maybe\": expected allow or deny");
    says("http.listen = \"8080\"",
         "w.toml:1: http.listen = \"8080\": expected an address such as 127.0.0.1:8080 or [::1]:8080");
    says("http.hosts = \"a\"",
         "w.toml:1: http.hosts = a: expected a list of strings (host names, without http://), not a string");
    says("http.hosts = [\n\"a\",\n\"http://b\",\n]",
         "w.toml:3: http.hosts = \"http://b\": expected host names, without http://");
    says("http.hosts = [\n\"a\",\n4]",
         "w.toml:3: http.hosts: expected strings (host names, without http://), not an integer");
    says("http.origins = [\"a.example\"]",
         "w.toml:1: http.origins = \"a.example\": expected origins such as https://app.example.com, without a path");
    says("auth.mode = \"key\"", "w.toml:1: auth.mode = \"key\": expected none, keys or auto");
    says("node.id = \"\"", "w.toml:1: node.id = \"\": expected 1 to 64 of the letters A-Z a-z 0-9 - _ .");
    says("node.data_dir = 2024-01-02",
         "w.toml:1: node.data_dir = 2024-01-02: expected a string (a folder), not a date or time");
}

TEST_CASE("all mistakes are told at once, in the file's order; also of what a flag overrides") {
    CHECK(mistakes({{"--node-id", "good"}}, {{"WEIR_LIMITS_MEMORY", "lots"}},
                   "[node]\nid = \"b d\"\n[http]\nlisten = 1\nhots = []\n") ==
          "WEIR_LIMITS_MEMORY = \"lots\": expected a size such as 512MiB, 64MiB at least\n"
          "w.toml:2: node.id = \"b d\": expected 1 to 64 of the letters A-Z a-z 0-9 - _ .\n"
          "w.toml:4: http.listen = 1: expected a string (an address such as 127.0.0.1:8080 or [::1]:8080), not an "
          "integer\n"
          "w.toml:5: unknown key http.hots; did you mean http.hosts?");
    std::string many;
    for (int i = 0; i < 30; ++i)
        many += "k" + std::to_string(i) + " = 1\n";
    const std::string told = mistakes({}, {}, many);
    CHECK(std::ranges::count(told, '\n') == 20);
    CHECK(told.ends_with("\nand 10 more"));
}

TEST_CASE("a wrong value of a flag or variable is refused, and the refusal names its source") {
    CHECK(mistakes({}, {{"WEIR_LIMITS_MEMORY", "lots"}}) ==
          "WEIR_LIMITS_MEMORY = \"lots\": expected a size such as 512MiB, 64MiB at least");
    CHECK(mistakes({{"--http", "x"}}) == "--http = \"x\": expected an address such as 127.0.0.1:8080 or [::1]:8080");
    CHECK(mistakes({}, {{"WEIR_HTTP_ORIGINS", "https://a/b"}}) ==
          "WEIR_HTTP_ORIGINS = \"https://a/b\": expected origins such as https://app.example.com, without a path");
    CHECK(mistakes({}, {{"WEIR_INSECURE", "\x1b[2J"}}) == "WEIR_INSECURE = \"\\x1b[2J\": expected true or false");
    CHECK(mistakes({}, {{"WEIR_NODE_ID", std::string(300, 'x')}}).size() < 200);
    CHECK(mistakes({}, {{"WEIR_LIMITS_MEMORY", "64MiB"}, {"WEIR_LIMITS_DEDUP_MEMORY", "65MiB"}}) ==
          "WEIR_LIMITS_DEDUP_MEMORY is larger than limits.memory, of which it is a part");
}

TEST_CASE("API keys from the file and from the variable") {
    const std::string file = std::string("[auth]\nkeys = [{ name = \"ops\", role = \"admin\", sha256 = \"") + digest_a +
                             "\" },\n  { sha256 = \"" + digest_b + "\", name = \"app-1\", role = \"writer\" }]\n";
    const std::string variable = std::string("ops:admin:") + digest_a + ", app-1:writer:" + digest_b;
    for (const LoadedSettings& all : {loaded({}, {}, file), loaded({}, {{"WEIR_AUTH_KEYS", variable}})}) {
        REQUIRE(all.settings.api_keys.size() == 2);
        CHECK(all.settings.api_keys[0].name == "ops");
        CHECK(all.settings.api_keys[0].role == http::Role::admin);
        CHECK(os::hex_of(all.settings.api_keys[0].sha256) == digest_a);
        CHECK(all.settings.api_keys[1].role == http::Role::writer);
        CHECK(setting(all, "auth.keys").value == "ops:admin, app-1:writer");
        CHECK(setting(all, "auth.mode").value == "keys");
        for (const EffectiveSetting& one : all.effective)
            CHECK(one.value.find(digest_a) == std::string::npos);
    }
    const LoadedSettings off = loaded({}, {{"WEIR_AUTH_MODE", "none"}}, file);
    CHECK(off.settings.api_keys.empty());
    CHECK(setting(off, "auth.mode").value == "none");
    REQUIRE(off.warnings.size() == 1);
    CHECK(off.warnings[0] == "WEIR_AUTH_MODE is none: there are API keys, and nobody needs one");
    CHECK(mistakes({}, {}, "auth.mode = \"keys\"") ==
          "w.toml:1: auth.mode is keys, and there are none: set auth.keys or auth.root_key_file");
}

TEST_CASE("a key that is wrong is told by its line and name, never by its digest") {
    const std::string words =
        "expected keys with a name (of A-Z a-z 0-9 - _ .), a role (reader, writer or admin) and a "
        "sha256 (64 hex digits)";
    const auto says = [&](std::string inside, const std::string& want) {
        while (inside.find("$A") != std::string::npos)
            inside.replace(inside.find("$A"), 2, digest_a);
        const std::string told = mistakes({}, {}, "[auth]\nkeys = [\n" + inside + "\n]\n");
        INFO(told);
        CHECK(told == want);
        CHECK(told.find(digest_a) == std::string::npos);
    };
    says("{name=\"a\", role=\"admin\", sha256=\"$A\"},\n{name=\"b\", role=\"root\", sha256=\"$A\"}",
         "w.toml:4: auth.keys: " + words + "; the key b has no good role (admin, writer or reader)");
    says("{name=\"a\", role=\"admin\", sha256=\"my-secret-key\"}",
         "w.toml:3: auth.keys: " + words + "; the key a has no good sha256 (what `printf %s KEY | sha256sum` prints)");
    says("{name=\"a b\", role=\"admin\", sha256=\"$A\"}",
         "w.toml:3: auth.keys: " + words + "; the key number 1 has no good name");
    says("{role=\"admin\", sha256=\"$A\"}", "w.toml:3: auth.keys: " + words + "; the key number 1 has no good name");
    says("{name=\"root\", role=\"admin\", sha256=\"$A\"}",
         "w.toml:3: auth.keys: " + words + "; the key root has the name of the key in auth.root_key_file");
    says("{name=\"a\", role=\"admin\", sha256=\"$A\"},\n{name=\"a\", role=\"admin\", sha256=\"" +
             std::string(digest_b) + "\"}",
         "w.toml:4: auth.keys: " + words + "; the key a is there twice");
    says("{name=\"a\", role=\"admin\", sha256=\"$A\"},\n{name=\"b\", role=\"reader\", sha256=\"$A\"}",
         "w.toml:4: auth.keys: " + words + "; the key b is the same key as a");
    says("{nam=\"a\", role=\"admin\", sha256=\"$A\"}",
         "w.toml:3: unknown key auth.keys.nam; did you mean name? (an API key has name, role and sha256)");
    says("{name=\"a\", role=7, sha256=\"$A\"}", "w.toml:3: auth.keys.role: expected a string, not an integer");
    says("\"$A\"", "w.toml:3: auth.keys: expected { name = \"...\", role = \"...\", sha256 = \"...\" }, not a string");
    CHECK(mistakes({}, {}, std::string("auth.keys = \"") + digest_a + '"') ==
          "w.toml:1: auth.keys: expected a list of tables (" + words.substr(9) + "), not a string");
    const std::string by_variable = mistakes({}, {{"WEIR_AUTH_KEYS", std::string("ops:boss:") + digest_a}});
    CHECK(by_variable == "WEIR_AUTH_KEYS: " + words + "; the key ops has no good role (admin, writer or reader)");
    std::string many;
    for (int i = 0; i < 257; ++i) {
        std::string digest = digest_a;
        digest.replace(0, 3, std::to_string(100 + i));
        many += "k" + std::to_string(i) + ":reader:" + digest + ",";
    }
    CHECK(mistakes({}, {{"WEIR_AUTH_KEYS", many}}).ends_with("the key k256 is one too many"));
}

TEST_CASE("the root key's file gives one more admin") {
    const ::weir::test::TempDir dir;
    const std::string path = dir.path() + "/root.key";
    const auto write = [&](std::string_view text, std::filesystem::perms mode) {
        std::ofstream(path) << text;
        std::filesystem::permissions(path, mode);
    };
    constexpr auto mine = std::filesystem::perms::owner_read | std::filesystem::perms::owner_write;
    const TextMap environment{{"WEIR_AUTH_ROOT_KEY_FILE", path}};
    write(" 0123456789abcdef0123\r\n\n", mine);
    const LoadedSettings all = loaded({}, environment);
    REQUIRE(all.settings.api_keys.size() == 1);
    CHECK(all.settings.api_keys[0].name == "root");
    CHECK(all.settings.api_keys[0].role == http::Role::admin);
    CHECK(all.settings.api_keys[0].sha256 == os::Sha256().of("0123456789abcdef0123"));
    CHECK(setting(all, "auth.root_key_file").value == path);
    CHECK(loaded({{"--http", "0.0.0.0:80"}}, environment).settings.api_keys.size() == 1);
    const auto says = [&](const char* want) {
        const std::string told = mistakes({}, environment);
        INFO(told);
        CHECK(told == "WEIR_AUTH_ROOT_KEY_FILE: " + path + want);
    };
    write("0123456789abcdef0123", mine | std::filesystem::perms::group_read);
    says(" can be read by others: chmod 600 it");
    write("0123456789abcdef012", mine);
    says(" holds a key that can be guessed: 20 letters at least (openssl rand -hex 32)");
    for (const std::string& text : {std::string(), std::string("two words that are long enough"),
                                    std::string("one-line-that-is-long\nand-another"), std::string(1025, 'x')}) {
        write(text, mine);
        says(" must hold one line: an API key of at most 1024 printable ASCII letters, without spaces");
    }
    std::filesystem::remove(path);
    says(" cannot be read: No such file or directory");
    std::filesystem::create_directory(path);
    says(" is not a file");
}

TEST_CASE("an address that others can reach needs keys, or the word insecure") {
    const std::string keys = std::string("ops:admin:") + digest_a;
    for (const char* address : {"0.0.0.0:8080", "[::]:8080", "10.0.0.1:80", "example.com:80"}) {
        INFO(address);
        CHECK(mistakes({{"--http", address}}).starts_with(std::string("--http = ") + address + ": other machines can"));
        CHECK(mistakes({}, {{"WEIR_HTTP_LISTEN", address}}).starts_with("WEIR_HTTP_LISTEN = "));
        CHECK(loaded({{"--http", address}, {"--insecure", "true"}}).settings.insecure);
        CHECK(loaded({{"--http", address}}, {{"WEIR_INSECURE", "true"}}).warnings.empty());
        CHECK(loaded({{"--http", address}}, {}, "insecure = true").settings.insecure);
        const LoadedSettings with_keys = loaded({{"--http", address}}, {{"WEIR_AUTH_KEYS", keys}});
        REQUIRE(with_keys.warnings.size() == 1);
        CHECK(with_keys.warnings[0].find("unencrypted") != std::string::npos);
        // Keys that nobody asks for are none.
        CHECK_FALSE(mistakes({{"--http", address}}, {{"WEIR_AUTH_KEYS", keys}, {"WEIR_AUTH_MODE", "none"}}).empty());
    }
    const std::string told = mistakes({}, {}, "[http]\nlisten = \"0.0.0.0:1\"");
    CHECK(told.starts_with("w.toml:2: http.listen = 0.0.0.0:1: "));
    for (const char* remedy :
         {"auth.keys", "WEIR_AUTH_KEYS", "127.0.0.1", "insecure = true", "--insecure", "WEIR_INSECURE=true"})
        CHECK(told.find(remedy) != std::string::npos);
    CHECK(mistakes({{"--http", "[::1]:8080"}}).empty());
}

TEST_CASE("unknown WEIR_ variables are told, never fatal; foreign ones are not looked at") {
    const LoadedSettings all = loaded({}, {{"WEIR_HTTP_LISTENN", "x"},
                                           {"WEIR_SERVER", "http://x"},
                                           {"WEIR_API_KEY", "k"},
                                           {"WEIR_API_KEY_FILE", "k"},
                                           {"WEIR_CONFIG", "c"},
                                           {"WEIR_TEST_SOMETHING_ELSE_ALTOGETHER", "1"},
                                           {"PATH", "/bin"}});
    REQUIRE(all.warnings.size() == 2);
    CHECK(all.warnings[0] == "unknown variable WEIR_HTTP_LISTENN is ignored (did you mean WEIR_HTTP_LISTEN?)");
    CHECK(all.warnings[1] == "unknown variable WEIR_TEST_SOMETHING_ELSE_ALTOGETHER is ignored");
}

TEST_CASE("the example in config/ says every setting, at its default") {
    const auto example = read_config(WEIR_SOURCE_DIR "/config/weir.toml");
    if (!example) FAIL(example.error().detail);
    const auto all = load_settings({}, {}, example.value());
    if (!all) FAIL(all.error().detail);
    const LoadedSettings defaults = loaded({});
    for (std::size_t i = 0; i < defaults.effective.size(); ++i) {
        INFO(defaults.effective[i].name);
        CHECK(all.value().effective[i].value == defaults.effective[i].value);
        CHECK(all.value().effective[i].origin == Origin::file);
    }
}

}  // namespace
}  // namespace weir::node
