package stagelens.iotd;

import java.util.Map;
import org.springframework.http.CacheControl;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** The service's two addresses; the pictures themselves are static files below /pictures. */
@RestController
public class ImageController {

    private final PictureOfTheDay picture;

    public ImageController(PictureOfTheDay picture) {
        this.picture = picture;
    }

    @GetMapping("/image")
    public ResponseEntity<Image> image() {
        return ResponseEntity.ok().cacheControl(CacheControl.noCache()).body(picture.today());
    }

    @GetMapping("/health")
    public Map<String, String> health() {
        return Map.of("status", "UP");
    }
}
