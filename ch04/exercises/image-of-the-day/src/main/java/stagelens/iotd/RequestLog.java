package stagelens.iotd;

import static net.logstash.logback.argument.StructuredArguments.fields;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.io.IOException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.regex.Pattern;
import javax.servlet.FilterChain;
import javax.servlet.ServletException;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.MDC;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.stereotype.Component;
import org.springframework.web.filter.OncePerRequestFilter;

/**
 * Gives each request an id (the caller's X-Request-Id if it has one) and a log line. All three applications
 * name the fields alike. Health checks are not logged: they come every second.
 */
@Component
@Order(Ordered.HIGHEST_PRECEDENCE)
public class RequestLog extends OncePerRequestFilter {

    private static final Logger LOG = LoggerFactory.getLogger(RequestLog.class);
    private static final String HEADER = "X-Request-Id";
    private static final String FIELD = "request_id";
    private static final Pattern ID = Pattern.compile("[A-Za-z0-9._-]{1,64}");
    private static final int MAX_PATH = 200;

    @Override
    protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws ServletException, IOException {
        long started = System.nanoTime();
        String given = request.getHeader(HEADER);
        String id = given != null && ID.matcher(given).matches() ? given : newId();
        response.setHeader(HEADER, id);
        MDC.put(FIELD, id);
        try {
            chain.doFilter(request, response);
        } finally {
            if (!request.getRequestURI().equals("/health")) {
                LOG.info("request", fields(new Entry(request, response.getStatus(), started)));
            }
            MDC.remove(FIELD);
        }
    }

    private static String newId() {
        return String.format("%016x", ThreadLocalRandom.current().nextLong());
    }

    /** The fields of one line; request_id comes from the MDC. */
    static final class Entry {
        @JsonProperty final String method;
        @JsonProperty final String path;
        @JsonProperty final int status;
        @JsonProperty final double ms;

        Entry(HttpServletRequest request, int status, long started) {
            String uri = request.getRequestURI();
            this.method = request.getMethod();
            this.path = uri.substring(0, Math.min(uri.length(), MAX_PATH));
            this.status = status;
            this.ms = Math.round((System.nanoTime() - started) / 10_000.0) / 100.0;
        }
    }
}
