package stagelens.iotd;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.time.LocalDate;
import java.util.List;

/** The pictures inside the jar, one a day in turn, so that the service needs no internet. */
public final class Catalogue {

    private final List<Image> images;

    public Catalogue(List<Image> images) {
        if (images.isEmpty()) {
            throw new IllegalArgumentException("a catalogue needs at least one picture");
        }
        this.images = List.copyOf(images);
    }

    static Catalogue load(ObjectMapper json) {
        try (InputStream in = Catalogue.class.getResourceAsStream("/catalogue.json")) {
            return new Catalogue(List.of(json.readValue(in, Image[].class)));
        } catch (IOException e) {
            throw new UncheckedIOException("catalogue.json in the jar can't be read", e);
        }
    }

    /** The same picture all day long, everywhere: days since 1970 modulo the number of pictures. */
    public Image on(LocalDate day) {
        return images.get((int) Math.floorMod(day.toEpochDay(), (long) images.size()));
    }

    public List<Image> images() {
        return images;
    }
}
