package greeting;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** A web page that greets its user, whose name comes from the environment variable USER. */
public final class Server {
    private static final String GREETING = "Good evening";

    public static void main(String[] arguments) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(80), 0);
        server.createContext("/", Server::answer);
        server.start();
        System.out.println("listening on port 80");
    }

    private static void answer(HttpExchange exchange) throws IOException {
        String user = System.getenv().getOrDefault("USER", "nobody");
        byte[] page = (GREETING + ", " + user + "\n").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
        exchange.sendResponseHeaders(200, page.length);
        exchange.getResponseBody().write(page);
        exchange.close();
    }
}
