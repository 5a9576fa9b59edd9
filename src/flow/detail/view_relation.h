#pragma once

#include <memory>
#include <vector>

#include "flow/detail/view.h"
#include "sql/relation.h"

namespace millrace::flow {

/// A view as a SELECT sees it. Keeps the view's rows for as long as a query holds it.
class ViewRelation : public sql::Relation {
 public:
  /// `object`: what the catalog has by the view's name, which may be younger than the view.
  ViewRelation(std::shared_ptr<View> view, catalog::Object object);

  const catalog::Object& object() const override { return object_; }
  const std::vector<sql::RelationColumn>& columns() const override { return columns_; }
  size_t row_count_estimate() const override { return view_->rows().size(); }
  Result<std::unique_ptr<sql::RelationScan>> scan(sql::ScanRequest request) override;
  Result<uint64_t> apply(std::vector<sql::Change> changes) override;

 private:
  const std::shared_ptr<View> view_;
  const catalog::Object object_;
  std::vector<sql::RelationColumn> columns_;
};

}  // namespace millrace::flow
