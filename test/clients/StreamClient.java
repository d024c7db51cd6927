/*
 * Writes to the stream client_rows by JDBC: StreamClient URL ROWS
 *
 * Each way writes rows with ids from 1 to ROWS, under its own name.
 */
import java.io.StringReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import org.postgresql.PGConnection;

public class StreamClient
{
	private static final String INSERT = "INSERT INTO client_rows (how, id, v, note) VALUES (?, ?, ?, ?)";

	private static void bind(PreparedStatement statement, String how, long id) throws SQLException
	{
		statement.setString(1, how);
		statement.setLong(2, id);
		statement.setDouble(3, id / 2.0);
		if (id % 3 == 0)
			statement.setNull(4, Types.VARCHAR);
		else
			statement.setString(4, "note");
	}

	/* From the fifth execution on the statement is prepared on the server, and values are sent in binary. */
	private static void writePrepared(Connection connection, int rows) throws SQLException
	{
		try (PreparedStatement statement = connection.prepareStatement(INSERT))
		{
			for (int id = 1; id <= rows; id++)
			{
				bind(statement, "JDBC prepared", id);
				if (statement.executeUpdate() != 1)
					throw new SQLException("no row");
			}
		}
	}

	private static void writeBatch(Connection connection, String how, int rows) throws SQLException
	{
		connection.setAutoCommit(false);
		try (PreparedStatement statement = connection.prepareStatement(INSERT))
		{
			for (int id = 1; id <= rows; id++)
			{
				bind(statement, how, id);
				statement.addBatch();
				if (id % 100 == 0)
					statement.executeBatch();
			}
			statement.executeBatch();
		}
		connection.commit();
		connection.setAutoCommit(true);
	}

	private static void writeReturning(Connection connection, int rows) throws SQLException
	{
		try (PreparedStatement statement = connection.prepareStatement(INSERT, Statement.RETURN_GENERATED_KEYS))
		{
			for (int id = 1; id <= rows; id++)
			{
				bind(statement, "JDBC returning", id);
				statement.executeUpdate();
				try (ResultSet keys = statement.getGeneratedKeys())
				{
					if (!keys.next() || keys.getLong("id") != id)
						throw new SQLException("no key");
				}
			}
		}
	}

	private static void writeSavepoints(Connection connection, int rows) throws SQLException
	{
		connection.setAutoCommit(false);
		try (PreparedStatement statement = connection.prepareStatement(INSERT))
		{
			for (int id = 1; id <= rows; id++)
			{
				bind(statement, "JDBC savepoints", id);
				statement.executeUpdate();
				java.sql.Savepoint savepoint = connection.setSavepoint();
				bind(statement, "given up", id);
				statement.executeUpdate();
				connection.rollback(savepoint);
			}
		}
		connection.commit();
		connection.setAutoCommit(true);
	}

	private static void writeCopy(Connection connection, int rows) throws Exception
	{
		StringBuilder csv = new StringBuilder();

		for (int id = 1; id <= rows; id++)
			csv.append("JDBC COPY,").append(id).append(',').append(id / 2.0).append(id % 3 == 0 ? ",\n" : ",note\n");
		long copied = connection.unwrap(PGConnection.class).getCopyAPI()
			.copyIn("COPY client_rows (how, id, v, note) FROM STDIN (FORMAT csv)", new StringReader(csv.toString()));
		if (copied != rows)
			throw new SQLException(copied + " rows copied");
	}

	public static void main(String[] args) throws Exception
	{
		int rows = Integer.parseInt(args[1]);

		try (Connection connection = DriverManager.getConnection(args[0]))
		{
			writePrepared(connection, rows);
			writeBatch(connection, "JDBC batch", rows);
			writeReturning(connection, rows);
			writeSavepoints(connection, rows);
			writeCopy(connection, rows);
		}
		try (Connection connection = DriverManager.getConnection(args[0] + "&reWriteBatchedInserts=true"))
		{
			writeBatch(connection, "JDBC rewritten batch", rows);
		}
	}
}
