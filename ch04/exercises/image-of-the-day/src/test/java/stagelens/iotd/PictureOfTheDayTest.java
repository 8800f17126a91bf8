package stagelens.iotd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A real HTTP server on this machine stands where NASA's would be. */
class PictureOfTheDayTest {

    private static final String GOOD =
            "{\"media_type\":\"image\",\"title\":\"A nebula\",\"url\":\"https://example.org/n.jpg\"}";
    private static final Image OWN = new Image("/pictures/own.svg", "own", "us");

    private final TestClock clock = new TestClock();
    private final AtomicInteger asked = new AtomicInteger();
    private HttpServer server;
    private volatile int status = 200;
    private volatile String body = GOOD;
    private volatile String query;

    @BeforeEach
    void start() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", exchange -> {
            asked.incrementAndGet();
            query = exchange.getRequestURI().getRawQuery();
            byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(status, bytes.length);
            try (OutputStream out = exchange.getResponseBody()) {
                out.write(bytes);
            }
        });
        server.start();
    }

    @AfterEach
    void stop() {
        server.stop(0);
    }

    private PictureOfTheDay service() {
        String url = "http://127.0.0.1:" + server.getAddress().getPort() + "/apod";
        NasaClient nasa = new NasaClient(url, "a key&more", new ObjectMapper());
        return new PictureOfTheDay(new Catalogue(List.of(OWN)), Optional.of(nasa), clock);
    }

    @Test
    void nasasPictureIsShownAndTheKeyIsEscaped() {
        Image image = service().today();
        assertEquals("https://example.org/n.jpg", image.getUrl());
        assertEquals("A nebula", image.getCaption());
        assertEquals("NASA, public domain", image.getCopyright());
        assertEquals("api_key=a+key%26more", query);
    }

    @Test
    void anAnswerIsKeptForTwoHours() {
        PictureOfTheDay service = service();
        service.today();
        clock.pass(Duration.ofMinutes(119));
        service.today();
        assertEquals(1, asked.get());
        clock.pass(Duration.ofMinutes(2));
        service.today();
        assertEquals(2, asked.get());
    }

    @Test
    void aFailureIsTriedAgainAfterAMinute() {
        status = 503;
        PictureOfTheDay service = service();
        assertEquals(OWN, service.today());
        assertEquals(OWN, service.today());
        assertEquals(1, asked.get());
        status = 200;
        clock.pass(Duration.ofSeconds(61));
        assertEquals("A nebula", service.today().getCaption());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "", "not json", "[]", "null", "{\"media_type\":\"image\"}",
        "{\"media_type\":\"video\",\"url\":\"https://example.org/v\"}",
        "{\"media_type\":\"image\",\"url\":\"file:///etc/passwd\"}",
        "{\"media_type\":\"image\",\"url\":\"javascript:alert(1)\"}"
    })
    void anythingButAPictureFallsBackToTheCatalogue(String answer) {
        body = answer;
        assertEquals(OWN, service().today());
    }

    @Test
    void aHugeAnswerFallsBackToTheCatalogue() {
        body = GOOD.replace("A nebula", "x".repeat(NasaClient.MAX_BYTES));
        assertEquals(OWN, service().today());
    }

    @Test
    void anUnreachableNasaFallsBackToTheCatalogue() {
        PictureOfTheDay service = service();
        server.stop(0);
        assertEquals(OWN, service.today());
    }

    @Test
    void aBadAddressIsRefusedAtTheStart() {
        assertThrows(IllegalArgumentException.class, () -> new NasaClient("ftp://x/y", "k", new ObjectMapper()));
    }

    /** A clock that a test moves by hand. */
    private static final class TestClock extends Clock {
        private Instant now = Instant.parse("2026-12-28T12:00:00Z");

        void pass(Duration time) {
            now = now.plus(time);
        }

        @Override
        public Instant instant() {
            return now;
        }

        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }
    }
}
