package stagelens.iotd;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;

/** A picture: its address (which may be relative to this service's), what it shows, and whose it is. */
@JsonPropertyOrder({"url", "caption", "copyright"})
public final class Image {

    private static final int MAX_TEXT = 300;

    private final String url;
    private final String caption;
    private final String copyright;

    @JsonCreator
    public Image(
            @JsonProperty("url") String url,
            @JsonProperty("caption") String caption,
            @JsonProperty("copyright") String copyright) {
        this.url = url;
        this.caption = plain(caption);
        this.copyright = plain(copyright);
    }

    public String getUrl() {
        return url;
    }

    public String getCaption() {
        return caption;
    }

    public String getCopyright() {
        return copyright;
    }

    /** One line of bounded length: line breaks and control characters become spaces. */
    private static String plain(String text) {
        String line = text.replaceAll("[\\p{Cntrl}\\s]+", " ").trim();
        int length = Math.min(line.codePointCount(0, line.length()), MAX_TEXT);
        return line.substring(0, line.offsetByCodePoints(0, length));
    }
}
