#include "query/view_rows.h"

#include "apply/tables.h"
#include "query/catalog_reader.h"
#include "store/database.h"
#include "store/reader.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

namespace weir::query {
namespace {

using store::Value;
using Row = std::vector<Value>;

constexpr std::size_t keys_of_statement = 64;

class ShardViewRows final : public ViewRows {
  public:
    ShardViewRows(os::Disk& disk, const std::string& shard_dir, std::unique_ptr<store::Reader> reader)
        : reader_(std::move(reader)), catalog_(*reader_, disk, shard_dir, "") {}

    Result<ViewShape> shape(const std::string& name) override {
        TRY(reader_->begin_snapshot());
        auto result = shape_in_snapshot(name);
        reader_->end_snapshot();
        return result;
    }

    Result<LogIndex> page(const ViewShape& view, bool begins, std::string_view after, const OnRow& on_row) override {
        std::string sql = select_of(view);
        std::vector<Value> parameters;
        if (!begins) {
            sql += " WHERE _k > ?1";
            parameters.push_back(Value::of_blob(after));
        }
        sql += " ORDER BY _k";
        return in_snapshot(view, [&]() -> Status {
            Row values;
            const auto each = [&](const Row& row) {
                values.assign(row.begin() + 1, row.end());
                return on_row(row[0].text, &values);
            };
            return reader_->query_while(sql, each, parameters);
        });
    }

    Result<LogIndex> rows(const ViewShape& view, const std::vector<std::string_view>& keys,
                          const OnRow& on_row) override {
        return in_snapshot(view, [&]() -> Status {
            bool goes_on = true;
            for (std::size_t at = 0; goes_on && at < keys.size(); at += keys_of_statement) {
                const std::size_t count = std::min(keys_of_statement, keys.size() - at);
                goes_on = TRY(rows_of(view, std::span(keys).subspan(at, count), on_row));
            }
            return {};
        });
    }

  private:
    Result<ViewShape> shape_in_snapshot(const std::string& name) {
        TRY(catalog_.begin());
        const sql::TableShape* found = catalog_.find(name);
        TRY(Status(catalog_.status()));
        const Error none{Errc::not_found, "there is no view " + name};
        if (found == nullptr) return none;
        ViewShape view;
        for (const auto& [column, type] : found->columns)
            view.columns.push_back({column, type});
        std::string state;
        double progress = 0;
        TRY(reader_->query_internal("SELECT id, state, progress FROM main._objects WHERE kind = 'view' AND name = ?1",
                                    [&](const Row& row) {
                                        view.id = ObjectId::from_packed(static_cast<std::uint64_t>(row[0].integer));
                                        state = row[1].text;
                                        progress = row[2].type == store::ValueType::real
                                                       ? row[2].real
                                                       : static_cast<double>(row[2].integer);
                                    },
                                    {Value::of(std::string_view(found->name))}));
        if (view.id.is_null()) return none;  // a stream, or a table that comes with one
        if (state == "building")
            return Error{Errc::building, "view " + name + " is being built (" +
                                             std::to_string(static_cast<int>(progress * 100)) + " %)"};
        return view;
    }

    static std::string select_of(const ViewShape& view) {
        std::string sql = "SELECT _k";
        for (std::size_t i = 0; i < view.columns.size(); ++i)
            sql += ", c" + std::to_string(i);
        return sql + " FROM main." + store::quote_name(apply::view_table(view.id));
    }

    template <class Work>
    Result<LogIndex> in_snapshot(const ViewShape& view, Work work) {
        TRY(reader_->begin_snapshot());
        auto result = [&]() -> Result<LogIndex> {
            bool exists = false;
            TRY(reader_->query_internal("SELECT 1 FROM main._objects WHERE kind = 'view' AND id = ?1",
                                        [&](const Row&) { exists = true; },
                                        {Value::of(static_cast<std::int64_t>(view.id.packed()))}));
            if (!exists) return Error{Errc::not_found, "the view was dropped"};
            TRY(work());
            LogIndex applied;
            TRY(reader_->query_internal("SELECT idx FROM main._applied", [&](const Row& row) {
                applied = LogIndex(static_cast<std::uint64_t>(row[0].integer));
            }));
            return applied;
        }();
        reader_->end_snapshot();
        return result;
    }

    // False: the caller wants no more.
    Result<bool> rows_of(const ViewShape& view, std::span<const std::string_view> keys, const OnRow& on_row) {
        std::string sql = select_of(view) + " WHERE _k IN (?1";
        std::vector<Value> parameters{Value::of_blob(keys[0])};
        for (std::size_t i = 1; i < keys.size(); ++i) {
            sql += ", ?" + std::to_string(i + 1);
            parameters.push_back(Value::of_blob(keys[i]));
        }
        sql += ")";
        std::set<std::string_view> missing(keys.begin(), keys.end());
        Row values;
        bool goes_on = true;
        const auto each = [&](const Row& row) {
            missing.erase(row[0].text);
            values.assign(row.begin() + 1, row.end());
            goes_on = on_row(row[0].text, &values);
            return goes_on;
        };
        TRY(reader_->query_while(sql, each, parameters));
        for (auto key = missing.begin(); goes_on && key != missing.end(); ++key)
            goes_on = on_row(*key, nullptr);
        return goes_on;
    }

    std::unique_ptr<store::Reader> reader_;
    CatalogReader catalog_;
};

}  // namespace

Result<std::unique_ptr<ViewRows>> ViewRows::open(os::Disk& disk, const std::string& shard_dir) {
    auto reader = TRY(store::Reader::open(shard_dir + "/view.db", [] { return std::int64_t{0}; }));
    return std::unique_ptr<ViewRows>(std::make_unique<ShardViewRows>(disk, shard_dir, std::move(reader)));
}

}  // namespace weir::query
