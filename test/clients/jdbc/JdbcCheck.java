import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.Arrays;
import java.util.Properties;
import java.util.UUID;

/** Talks to a node through pgjdbc as an application does; ends with 0 and a line "ok" when all answers are right. */
public final class JdbcCheck {
  private static void same(Object got, Object expected) {
    if (got == null ? expected != null : !got.equals(expected)) {
      throw new AssertionError("got " + got + ", expected " + expected);
    }
  }

  public static void main(String[] arguments) throws Exception {
    String url = "jdbc:postgresql://" + arguments[0] + "/millrace";
    for (String mode : new String[] {"extended", "simple", "extendedForPrepared"}) {
      Properties properties = new Properties();
      properties.setProperty("user", "test");
      properties.setProperty("preferQueryMode", mode);
      properties.setProperty("prepareThreshold", "2"); // named statements and binary results soon
      try (Connection connection = DriverManager.getConnection(url, properties)) {
        same(connection.getMetaData().getDatabaseMajorVersion(), 15);
        values(connection);
        if (!mode.equals("simple")) parameters(connection);
        tables(connection);
        errors(connection);
        if (mode.equals("extended")) fetchInParts(connection);
        cancel(connection);
      }
    }
    System.out.println("ok");
  }

  private static void values(Connection connection) throws SQLException {
    String sql = "SELECT 1::SMALLINT, 2, 3::BIGINT, 1.5::FLOAT, 2.5::DOUBLE, 12.30::DECIMAL(10, 2), 'text', true, "
        + "DATE '2013-01-02', TIMESTAMP '2013-01-02 10:11:12.5', '\\x01\\xFF'::BLOB, "
        + "'550e8400-e29b-41d4-a716-446655440000'::UUID, [1, 2], NULL::INTEGER";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int run = 0; run < 4; run++) { // text first, then binary
        try (ResultSet rows = statement.executeQuery()) {
          same(rows.next(), true);
          same(rows.getInt(1), 1);
          same(rows.getInt(2), 2);
          same(rows.getLong(3), 3L);
          same(rows.getFloat(4), 1.5f);
          same(rows.getDouble(5), 2.5);
          same(rows.getBigDecimal(6), new BigDecimal("12.30"));
          same(rows.getString(7), "text");
          same(rows.getBoolean(8), true);
          same(rows.getDate(9), Date.valueOf("2013-01-02"));
          same(rows.getTimestamp(10), Timestamp.valueOf("2013-01-02 10:11:12.5"));
          same(Arrays.toString(rows.getBytes(11)), "[1, -1]");
          same(rows.getObject(12), UUID.fromString("550e8400-e29b-41d4-a716-446655440000"));
          same(Arrays.toString((Object[]) rows.getArray(13).getArray()), "[1, 2]");
          same(rows.getInt(14), 0);
          same(rows.wasNull(), true);
          same(rows.next(), false);
        }
      }
    }
  }

  private static void parameters(Connection connection) throws SQLException {
    String sql = "SELECT ?::INTEGER + 1, ?::VARCHAR || 'x', ?::DOUBLE, ?::DECIMAL(10, 2), ?::DATE, ?::BOOLEAN, ?::BIGINT";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int run = 0; run < 4; run++) {
        statement.setInt(1, run);
        statement.setString(2, "é");
        statement.setDouble(3, 0.5);
        statement.setBigDecimal(4, new BigDecimal("7.25"));
        statement.setDate(5, Date.valueOf("2013-01-02"));
        statement.setBoolean(6, true);
        statement.setNull(7, Types.BIGINT);
        try (ResultSet rows = statement.executeQuery()) {
          same(rows.next(), true);
          same(rows.getInt(1), run + 1);
          same(rows.getString(2), "éx");
          same(rows.getDouble(3), 0.5);
          same(rows.getBigDecimal(4), new BigDecimal("7.25"));
          same(rows.getDate(5), Date.valueOf("2013-01-02"));
          same(rows.getBoolean(6), true);
          same(rows.getObject(7), null);
        }
      }
    }
  }

  private static void tables(Connection connection) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute("CREATE TABLE jdbc_check (id INTEGER PRIMARY KEY, name VARCHAR)");
      try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_check VALUES (?, ?)")) {
        for (int i = 0; i < 10; i++) {
          insert.setInt(1, i);
          insert.setString(2, "name " + i);
          insert.addBatch();
        }
        same(Arrays.stream(insert.executeBatch()).sum(), 10);
      }
      same(statement.executeUpdate("UPDATE jdbc_check SET name = 'new' WHERE id < 3"), 3);
      same(statement.executeUpdate("DELETE FROM jdbc_check WHERE id = 9"), 1);
      try (ResultSet rows = statement.executeQuery("SELECT count(*), max(name) FROM jdbc_check")) {
        same(rows.next(), true);
        same(rows.getLong(1), 9L);
        same(rows.getString(2), "new");
      }
      statement.execute("DROP TABLE jdbc_check");
    }
  }

  private static void errors(Connection connection) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      try {
        statement.executeQuery("SELECT * FROM there_is_no_such_table");
        throw new AssertionError("no error");
      } catch (SQLException e) {
        same(e.getSQLState(), "42P01");
      }
      try (ResultSet rows = statement.executeQuery("SELECT 1")) { // the connection goes on
        same(rows.next(), true);
      }
    }
  }

  private static void fetchInParts(Connection connection) throws SQLException {
    connection.setAutoCommit(false);
    try (PreparedStatement statement = connection.prepareStatement("SELECT range FROM range(10000)")) {
      statement.setFetchSize(700);
      long sum = 0;
      try (ResultSet rows = statement.executeQuery()) {
        while (rows.next()) sum += rows.getLong(1);
      }
      same(sum, 49995000L);
    }
    connection.commit();
    connection.setAutoCommit(true);
  }

  private static void cancel(Connection connection) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      try {
        statement.executeQuery("SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c WHERE a.range + b.range = c.range - 7");
        throw new AssertionError("no error");
      } catch (SQLException e) {
        same(e.getSQLState(), "57014");
      }
    }
  }
}
