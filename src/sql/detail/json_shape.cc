#include "sql/detail/json_shape.h"

namespace millrace::sql {
namespace {

using duckdb::LogicalTypeId;

Form scalar_form(const duckdb::LogicalType& type) {
  switch (type.id()) {
    case LogicalTypeId::SQLNULL:
      return Form::kNull;
    case LogicalTypeId::BOOLEAN:
      return Form::kBool;
    case LogicalTypeId::TINYINT:
      return Form::kInt8;
    case LogicalTypeId::SMALLINT:
      return Form::kInt16;
    case LogicalTypeId::INTEGER:
      return Form::kInt32;
    case LogicalTypeId::BIGINT:
      return Form::kInt64;
    case LogicalTypeId::UTINYINT:
      return Form::kUint8;
    case LogicalTypeId::USMALLINT:
      return Form::kUint16;
    case LogicalTypeId::UINTEGER:
      return Form::kUint32;
    case LogicalTypeId::UBIGINT:
      return Form::kUint64;
    case LogicalTypeId::HUGEINT:
      return Form::kHuge;
    case LogicalTypeId::UHUGEINT:
      return Form::kUhuge;
    case LogicalTypeId::FLOAT:
      return Form::kFloat;
    case LogicalTypeId::DOUBLE:
      return Form::kDouble;
    case LogicalTypeId::VARCHAR:
      return type.IsJSONType() ? Form::kJson : Form::kText;
    case LogicalTypeId::BLOB:
      return Form::kBlob;
    case LogicalTypeId::TIMESTAMP:
      return Form::kTimestamp;
    case LogicalTypeId::TIMESTAMP_SEC:
      return Form::kTimestampS;
    case LogicalTypeId::TIMESTAMP_MS:
      return Form::kTimestampMs;
    case LogicalTypeId::TIMESTAMP_NS:
      return Form::kTimestampNs;
    case LogicalTypeId::TIMESTAMP_TZ:
      return Form::kTimestampTz;
    case LogicalTypeId::DATE:
      return Form::kDate;
    case LogicalTypeId::TIME:
      return Form::kTime;
    case LogicalTypeId::INTERVAL:
      return Form::kInterval;
    case LogicalTypeId::UUID:
      return Form::kUuid;
    default:
      return Form::kCast;
  }
}

Result<> add_children(Shape& shape) {
  const auto add = [&](const duckdb::LogicalType& type) -> Result<> {
    MR_TRY(Shape child, shape_of(type));
    shape.children.push_back(std::move(child));
    return {};
  };
  switch (shape.form) {
    case Form::kStruct:
      for (const auto& [name, type] : duckdb::StructType::GetChildTypes(shape.type)) {
        shape.names.push_back(name);
        MR_TRY(add(type));
      }
      return {};
    case Form::kList:
      return add(duckdb::ListType::GetChildType(shape.type));
    case Form::kArray:
      shape.length = duckdb::ArrayType::GetSize(shape.type);
      return add(duckdb::ArrayType::GetChildType(shape.type));
    case Form::kMap:
      MR_TRY(add(duckdb::MapType::KeyType(shape.type)));
      return add(duckdb::MapType::ValueType(shape.type));
    default:
      return {};
  }
}

}  // namespace

Result<Shape> shape_of(const duckdb::LogicalType& type) {
  Shape shape;
  shape.type = type;
  switch (type.id()) {
    case LogicalTypeId::DECIMAL:
      shape.form = Form::kDecimal;
      shape.width = duckdb::DecimalType::GetWidth(type);
      shape.scale = duckdb::DecimalType::GetScale(type);
      return shape;
    case LogicalTypeId::ENUM:
      shape.form = Form::kEnum;
      return shape;
    case LogicalTypeId::TIME_TZ:
    case LogicalTypeId::BIT:
    case LogicalTypeId::BIGNUM:
      shape.form = Form::kCast;
      return shape;
    case LogicalTypeId::STRUCT:
      shape.form = Form::kStruct;
      if (duckdb::StructType::IsUnnamed(type))
        return Error{ErrorCode::kNotSupported, "a struct without field names has no JSON form"};
      break;
    case LogicalTypeId::LIST:
      shape.form = Form::kList;
      break;
    case LogicalTypeId::ARRAY:
      shape.form = Form::kArray;
      break;
    case LogicalTypeId::MAP:
      shape.form = Form::kMap;
      break;
    default:
      shape.form = scalar_form(type);
      if (shape.form == Form::kCast)
        return Error{ErrorCode::kNotSupported, "the type " + type.ToString() + " has no JSON form"};
      return shape;
  }
  MR_TRY(add_children(shape));
  return shape;
}

}  // namespace millrace::sql
