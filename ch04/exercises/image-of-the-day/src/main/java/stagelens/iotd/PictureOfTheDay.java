package stagelens.iotd;

import java.io.IOException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Chooses the picture: NASA's if it is set up and answers, else the catalogue's for today (UTC).
 *
 * <p>NASA's answer is kept for two hours, a failure for one minute. A visitor waits for NASA for at most a
 * second; a slower answer is fetched in the background and shown to the next one.
 */
public class PictureOfTheDay {

    static final Duration KEEP = Duration.ofHours(2);
    static final Duration RETRY = Duration.ofMinutes(1);
    private static final long PATIENCE_MILLIS = 1_000;

    private static final Logger LOG = LoggerFactory.getLogger(PictureOfTheDay.class);

    private final Catalogue catalogue;
    private final Optional<NasaClient> nasa;
    private final Clock clock;

    /** What NASA said last; empty if that failed. Both fields are guarded by this object's lock. */
    private CompletableFuture<Optional<Image>> latest = CompletableFuture.completedFuture(Optional.empty());

    private Instant validUntil = Instant.MIN;

    public PictureOfTheDay(Catalogue catalogue, Optional<NasaClient> nasa, Clock clock) {
        this.catalogue = catalogue;
        this.nasa = nasa;
        this.clock = clock;
    }

    /** Today's picture; never fails. */
    public Image today() {
        return nasa.flatMap(this::fromNasa).orElseGet(() -> catalogue.on(LocalDate.now(clock.withZone(ZoneOffset.UTC))));
    }

    private Optional<Image> fromNasa(NasaClient client) {
        try {
            return current(client).get(PATIENCE_MILLIS, TimeUnit.MILLISECONDS);
        } catch (TimeoutException | ExecutionException e) {
            return Optional.empty();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return Optional.empty();
        }
    }

    /** The answer under way or still valid; starts one request, and only one, if there is none. */
    private synchronized CompletableFuture<Optional<Image>> current(NasaClient client) {
        if (latest.isDone() && !clock.instant().isBefore(validUntil)) {
            latest = CompletableFuture.supplyAsync(() -> ask(client));
        }
        return latest;
    }

    private Optional<Image> ask(NasaClient client) {
        Optional<Image> answer = Optional.empty();
        try {
            answer = Optional.of(client.fetch());
        } catch (IOException | RuntimeException e) {
            // The exception itself may hold the address, and with it the key.
            LOG.warn("NASA gave no picture ({}), so the catalogue's is shown", e.getClass().getSimpleName());
        }
        synchronized (this) {
            validUntil = clock.instant().plus(answer.isPresent() ? KEEP : RETRY);
        }
        return answer;
    }
}
