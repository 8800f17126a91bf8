package stagelens.iotd;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Clock;
import java.util.Optional;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.ImportAutoConfiguration;
import org.springframework.boot.autoconfigure.context.PropertyPlaceholderAutoConfiguration;
import org.springframework.boot.autoconfigure.http.HttpMessageConvertersAutoConfiguration;
import org.springframework.boot.autoconfigure.jackson.JacksonAutoConfiguration;
import org.springframework.boot.autoconfigure.web.servlet.DispatcherServletAutoConfiguration;
import org.springframework.boot.autoconfigure.web.servlet.ServletWebServerFactoryAutoConfiguration;
import org.springframework.boot.autoconfigure.web.servlet.WebMvcAutoConfiguration;
import org.springframework.boot.autoconfigure.web.servlet.error.ErrorMvcAutoConfiguration;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Import;
import org.springframework.core.env.Environment;

/**
 * The image API of chapter 4: GET /image tells which picture is today's.
 *
 * <p>The parts of Spring Boot in use are named one by one: trying all of them takes a second more at each start.
 */
@SpringBootConfiguration
@Import({ImageController.class, RequestLog.class})
@ImportAutoConfiguration({
    DispatcherServletAutoConfiguration.class,
    ErrorMvcAutoConfiguration.class,
    HttpMessageConvertersAutoConfiguration.class,
    JacksonAutoConfiguration.class,
    PropertyPlaceholderAutoConfiguration.class,
    ServletWebServerFactoryAutoConfiguration.class,
    WebMvcAutoConfiguration.class
})
public class Application {

    public static void main(String[] args) {
        SpringApplication.run(Application.class, args);
    }

    @Bean
    Clock clock() {
        return Clock.systemUTC();
    }

    @Bean
    Catalogue catalogue(ObjectMapper json) {
        return Catalogue.load(json);
    }

    /** NASA is asked only when both its address and a key are set. */
    @Bean
    PictureOfTheDay pictureOfTheDay(Catalogue catalogue, ObjectMapper json, Clock clock, Environment environment) {
        String url = environment.getProperty("NASA_API_URL", "").trim();
        String key = environment.getProperty("NASA_API_KEY", "").trim();
        Optional<NasaClient> nasa =
                url.isEmpty() || key.isEmpty() ? Optional.empty() : Optional.of(new NasaClient(url, key, json));
        return new PictureOfTheDay(catalogue, nasa, clock);
    }
}
