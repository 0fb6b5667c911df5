#include "store/detail/sqlite.h"

#include "base/check.h"

#include <cerrno>
#include <cstring>

namespace weir::store::detail {

namespace {

// The primary code decides, except where the kernel says that the disk is full behind an IOERR.
Errc errc_of(int code, int os_errno) {
    switch (code & 0xff) {
        case SQLITE_FULL:
            return Errc::disk_full;
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_PROTOCOL:
        case SQLITE_NOLFS:
            if (os_errno == ENOSPC || os_errno == EDQUOT || os_errno == EFBIG) return Errc::disk_full;
            return Errc::io;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
        case SQLITE_FORMAT:
            return Errc::corrupt;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return Errc::conflict;
        case SQLITE_INTERRUPT:
            return Errc::cancelled;
        case SQLITE_NOMEM:
        case SQLITE_TOOBIG:
            return Errc::too_large;
        case SQLITE_AUTH:
            return Errc::forbidden;
        default:
            return Errc::invalid_argument;
    }
}

}  // namespace

Error error_of(sqlite3* db, int code, std::string_view doing) {
    Error error;
    const int os_errno = sqlite3_system_errno(db);
    error.code = errc_of(code, os_errno);
    const bool is_storage = error.code == Errc::io || error.code == Errc::disk_full;
    error.os_errno = is_storage ? os_errno : 0;
    error.detail = std::string(doing);
    if (!error.detail.empty()) error.detail += ": ";
    error.detail += sqlite3_errmsg(db);
    if (is_storage) {
        error.detail += " (SQLite code " + std::to_string(code);
        if (os_errno != 0) error.detail += std::string(", ") + std::strerror(os_errno);
        error.detail += ")";
    }
    error.position = sqlite3_error_offset(db);
    return error;
}

Result<Connection> open_connection(const std::string& path, int flags, const std::string& vfs) {
    // Debian's SQLite takes "file:..." for a URI; a path is never one here.
    const std::string name = path.rfind("file:", 0) == 0 ? "./" + path : path;
    sqlite3* raw = nullptr;
    const int code = sqlite3_open_v2(name.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                                     vfs.empty() ? nullptr : vfs.c_str());
    Connection db(raw);
    CHECK(db != nullptr);  // only an allocation can fail here
    if (code != SQLITE_OK) {
        Error error = error_of(raw, code, "open " + path);
        if (sqlite3_system_errno(raw) == ENOENT) error.code = Errc::not_found;
        return error;
    }
    return db;
}

Status execute(sqlite3* db, const std::string& sql) {
    const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return error_of(db, code, sql.substr(0, 60));
    return {};
}

Result<Prepared> prepare_own(sqlite3* db, std::string_view sql) {
    sqlite3_stmt* raw = nullptr;
    const int code =
        sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    Prepared statement(raw);
    if (code != SQLITE_OK) return error_of(db, code, "prepare");
    if (statement == nullptr) return Error{Errc::invalid_argument, "there is no statement"};
    return statement;
}

Value value_of(sqlite3_value* value) {
    switch (sqlite3_value_type(value)) {
        case SQLITE_INTEGER:
            return Value::of(static_cast<std::int64_t>(sqlite3_value_int64(value)));
        case SQLITE_FLOAT:
            return Value::of(sqlite3_value_double(value));
        case SQLITE_TEXT:
        case SQLITE_BLOB: {
            const bool is_text = sqlite3_value_type(value) == SQLITE_TEXT;
            const auto* bytes = static_cast<const char*>(sqlite3_value_blob(value));
            const auto size = static_cast<std::size_t>(sqlite3_value_bytes(value));
            const std::string_view view = bytes == nullptr ? std::string_view("") : std::string_view(bytes, size);
            return is_text ? Value::of(view) : Value::of_blob(view);
        }
        default:
            return Value::null();
    }
}

void set_result(sqlite3_context* context, const Value& value, bool lives_on) {
    const sqlite3_destructor_type lifetime = lives_on ? SQLITE_STATIC : SQLITE_TRANSIENT;
    // A null pointer would read as NULL, not as the empty text.
    const char* bytes = value.text.data() == nullptr ? "" : value.text.data();
    switch (value.type) {
        case ValueType::null:
            sqlite3_result_null(context);
            return;
        case ValueType::integer:
            sqlite3_result_int64(context, value.integer);
            return;
        case ValueType::real:
            sqlite3_result_double(context, value.real);
            return;
        case ValueType::text:
            sqlite3_result_text64(context, bytes, value.text.size(), lifetime, SQLITE_UTF8);
            return;
        case ValueType::blob:
            sqlite3_result_blob64(context, bytes, value.text.size(), lifetime);
            return;
    }
}

int bind_value(sqlite3_stmt* statement, int parameter, const Value& value) {
    const char* bytes = value.text.data() == nullptr ? "" : value.text.data();
    switch (value.type) {
        case ValueType::null:
            return sqlite3_bind_null(statement, parameter);
        case ValueType::integer:
            return sqlite3_bind_int64(statement, parameter, value.integer);
        case ValueType::real:
            return sqlite3_bind_double(statement, parameter, value.real);
        case ValueType::text:
            return sqlite3_bind_text64(statement, parameter, bytes, value.text.size(), SQLITE_STATIC, SQLITE_UTF8);
        case ValueType::blob:
            return sqlite3_bind_blob64(statement, parameter, bytes, value.text.size(), SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

}  // namespace weir::store::detail
