package stagelens.iotd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.LocalDate;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class CatalogueTest {

    private final Catalogue catalogue = Catalogue.load(new ObjectMapper());

    @Test
    void everyPictureIsInTheJar() {
        for (Image image : catalogue.images()) {
            assertNotNull(getClass().getResource("/static" + image.getUrl()), image.getUrl());
        }
    }

    @Test
    void aWeekShowsEveryPictureOnce() {
        Set<String> seen = new HashSet<>();
        for (int day = 0; day < catalogue.images().size(); day++) {
            seen.add(catalogue.on(LocalDate.of(2026, 12, 28).plusDays(day)).getUrl());
        }
        assertEquals(catalogue.images().size(), seen.size());
    }

    @Test
    void aDateBefore1970HasAPictureToo() {
        assertEquals(catalogue.images().get(6), catalogue.on(LocalDate.of(1969, 12, 31)));
    }

    @Test
    void textBecomesOneShortLine() {
        Image image = new Image("/x", "two\nlines\u0007 " + "x".repeat(400), "me");
        assertTrue(image.getCaption().startsWith("two lines x"));
        assertEquals(300, image.getCaption().length());
    }
}
