package stagelens.iotd;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.URL;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;

/**
 * Asks NASA's picture-of-the-day service. Its answer is an object with title, url, media_type ("image" or
 * "video") and, unless the picture is in the public domain, copyright.
 */
public class NasaClient {

    static final int CONNECT_MILLIS = 2_000;
    static final int READ_MILLIS = 3_000;
    static final long TOTAL_MILLIS = 6_000;
    static final int MAX_BYTES = 64 * 1024;

    private final URL address;
    private final ObjectMapper json;

    public NasaClient(String url, String key, ObjectMapper json) {
        try {
            String separator = url.contains("?") ? "&" : "?";
            String query = "api_key=" + URLEncoder.encode(key, StandardCharsets.UTF_8);
            this.address = web(url + separator + query).toURL();
        } catch (IOException e) {
            // The message leaves out the address, which holds the key.
            throw new IllegalArgumentException("NASA_API_URL must be an http or https address");
        }
        this.json = json;
    }

    /**
     * Fetches today's picture; takes at most about {@value #TOTAL_MILLIS} ms.
     *
     * @throws IOException if NASA can't be reached, is too slow, or answers with anything but a picture
     */
    public Image fetch() throws IOException {
        HttpURLConnection connection = (HttpURLConnection) address.openConnection();
        connection.setConnectTimeout(CONNECT_MILLIS);
        connection.setReadTimeout(READ_MILLIS);
        try {
            int status = connection.getResponseCode();
            if (status != HttpURLConnection.HTTP_OK) {
                throw new IOException("status " + status);
            }
            return image(json.readTree(read(connection.getInputStream())));
        } finally {
            connection.disconnect();
        }
    }

    /** A read timeout covers one read only, so a server that sends byte after byte needs a limit in all. */
    private static byte[] read(InputStream in) throws IOException {
        long end = System.nanoTime() + TOTAL_MILLIS * 1_000_000;
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        byte[] buffer = new byte[8192];
        for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
            out.write(buffer, 0, n);
            if (out.size() > MAX_BYTES) {
                throw new IOException("more than " + MAX_BYTES + " bytes");
            }
            if (System.nanoTime() > end) {
                throw new IOException("not complete after " + TOTAL_MILLIS + " ms");
            }
        }
        return out.toByteArray();
    }

    private static Image image(JsonNode answer) throws IOException {
        String type = answer.path("media_type").asText("");
        if (!type.equals("image")) {
            throw new IOException("today's is not a picture");
        }
        String title = answer.path("title").asText("");
        String copyright = answer.path("copyright").asText("");
        URI url = web(answer.path("url").asText(""));
        return new Image(
                url.toASCIIString(),
                title.isBlank() ? "NASA's picture of the day" : title,
                copyright.isBlank() ? "NASA, public domain" : copyright);
    }

    private static URI web(String text) throws IOException {
        try {
            URI uri = new URI(text);
            boolean http = "http".equalsIgnoreCase(uri.getScheme()) || "https".equalsIgnoreCase(uri.getScheme());
            if (http && uri.getHost() != null) {
                return uri;
            }
        } catch (URISyntaxException e) {
            // told below, without the text
        }
        throw new IOException("not a web address");
    }
}
