import java.net.URI;
import org.flywaydb.core.Flyway;

/** Flyway's own `migrate`, with its defaults: the first argument is the database, the second the folder. */
public final class Migrate {
    private Migrate() {}

    public static void main(String[] arguments) {
        URI uri = URI.create(arguments[0]);
        String url = "jdbc:postgresql://" + uri.getHost() + ":" + uri.getPort() + uri.getPath();
        Flyway.configure()
                .dataSource(url, uri.getUserInfo(), "")
                .locations("filesystem:" + arguments[1])
                .load()
                .migrate();
    }
}
