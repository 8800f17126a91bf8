// The image gallery of chapter 4: one page that shows the picture of the day.
//
// It asks the image API (Java) for the picture and tells the access log (Node) who came. The page always
// answers: if one of the two is down, slow or makes no sense, it says so instead.
//
// Standard library only, one file and no go.mod, since the Dockerfile copies nothing else. Nothing newer
// than Go 1.13 is used, which older base images hold.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"html/template"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	service     = "image-gallery"
	pageLimit   = 3 * time.Second        // for all calls a page needs, together
	proxyLimit  = 10 * time.Second       // for the picture's bytes
	stopLimit   = 700 * time.Millisecond // for requests under way once SIGTERM has come
	maxJSON     = 64 << 10               // bytes of a JSON answer
	maxPicture  = 10 << 20               // bytes of a picture
	maxText     = 300                    // characters of a caption or copyright
	pagePolicy  = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
	imagePolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox" // an SVG opened by itself may run nothing
)

var requestIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// picture is the image API's answer.
type picture struct {
	URL       string `json:"url"`
	Caption   string `json:"caption"`
	Copyright string `json:"copyright"`
}

// view is what index.html shows. A Problem is a sentence for the visitor, or empty.
type view struct {
	Date, Src, Caption, Copyright string
	ImageProblem, VisitProblem    string
	Visits                        int64
}

// gallery holds what the handlers share; nothing in it changes after the start.
type gallery struct {
	imageAPI, accessAPI *url.URL
	page                *template.Template
	inside, outside     *http.Client
}

// problem is an error that a visitor may read.
type problem string

func (p problem) Error() string { return string(p) }

const (
	problemSlow     = problem("did not answer in time")
	problemDown     = problem("could not be reached")
	problemNonsense = problem("gave an answer that could not be read")
	problemStatus   = problem("answered with an error")
)

// trace follows one visitor's request through the calls it causes.
type trace struct {
	id    string
	mu    sync.Mutex
	calls []call
}

// call is one request to another application, as the request's log line tells it.
type call struct {
	TS     string  `json:"ts"` // when it began
	Method string  `json:"method"`
	URL    string  `json:"url"`
	Status int     `json:"status,omitempty"`
	MS     float64 `json:"ms"`
	Error  string  `json:"error,omitempty"`
}

type traceKey struct{}

func traceOf(ctx context.Context) *trace { return ctx.Value(traceKey{}).(*trace) }

func (t *trace) add(c call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, c)
}

func (t *trace) list() []call {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]call(nil), t.calls...)
}

// logLine writes one JSON object on stdout. All three applications name these fields alike.
func logLine(level string, fields map[string]interface{}) {
	fields["ts"] = stamp(time.Now())
	fields["service"] = service
	fields["level"] = level
	if line, err := json.Marshal(fields); err == nil {
		os.Stdout.Write(append(line, '\n'))
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func logText(level, text string) { logLine(level, map[string]interface{}{"message": text}) }

func millis(since time.Time) float64 {
	return math.Round(float64(time.Since(since).Microseconds())/10) / 100
}

// ask sends one request and reads at most limit bytes of its answer.
func ask(ctx context.Context, client *http.Client, method, address string, body []byte, limit int64) ([]byte, http.Header, error) {
	started, t := time.Now(), traceOf(ctx)
	data, header, status, err := exchange(ctx, client, method, address, body, limit)
	c := call{TS: stamp(started), Method: method, URL: clip(address), Status: status, MS: millis(started)}
	if err != nil {
		c.Error = err.Error()
	}
	t.add(c)
	return data, header, err
}

func exchange(ctx context.Context, client *http.Client, method, address string, body []byte, limit int64) ([]byte, http.Header, int, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, 0, problemNonsense
	}
	req.Header.Set("X-Request-Id", traceOf(ctx).id)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, 0, reason(err)
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return nil, nil, res.StatusCode, problemStatus
	}
	var data bytes.Buffer
	if _, err := data.ReadFrom(io.LimitReader(res.Body, limit+1)); err != nil {
		return nil, nil, res.StatusCode, reason(err)
	}
	if int64(data.Len()) > limit {
		return nil, nil, res.StatusCode, problemNonsense
	}
	return data.Bytes(), res.Header, res.StatusCode, nil
}

func reason(err error) problem {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout()) {
		return problemSlow
	}
	return problemDown
}

// today asks the image API for the picture of the day. The picture's address may be relative to the API's.
func (g *gallery) today(ctx context.Context) (picture, *url.URL, error) {
	data, _, err := ask(ctx, g.inside, http.MethodGet, g.imageAPI.String(), nil, maxJSON)
	if err != nil {
		return picture{}, nil, err
	}
	var found picture
	if json.Unmarshal(data, &found) != nil || found.URL == "" {
		return picture{}, nil, problemNonsense
	}
	address, err := g.imageAPI.Parse(found.URL)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return picture{}, nil, problemNonsense
	}
	return found, address, nil
}

// visit tells the access log who came, then asks it for the number of visits.
func (g *gallery) visit(ctx context.Context, clientIP string) (int64, error) {
	body, err := json.Marshal(map[string]string{"clientIp": clientIP})
	if err != nil {
		return 0, err
	}
	if _, _, err := ask(ctx, g.inside, http.MethodPost, g.accessAPI.String(), body, maxJSON); err != nil {
		return 0, err
	}
	stats := g.accessAPI.ResolveReference(&url.URL{Path: "stats"})
	data, _, err := ask(ctx, g.inside, http.MethodGet, stats.String(), nil, maxJSON)
	if err != nil {
		return 0, err
	}
	var found struct {
		Count *int64 `json:"count"`
	}
	if json.Unmarshal(data, &found) != nil || found.Count == nil || *found.Count < 0 {
		return 0, problemNonsense
	}
	return *found.Count, nil
}

// look asks both applications at the same time and turns what failed into sentences.
func (g *gallery) look(ctx context.Context, clientIP string) view {
	shown := view{Date: time.Now().UTC().Format("Monday, 2 January 2006")}
	var visits sync.WaitGroup
	visits.Add(1)
	go func() {
		defer visits.Done()
		count, err := g.visit(ctx, clientIP)
		shown.Visits = count
		if err != nil {
			shown.VisitProblem = fmt.Sprintf("The access log %s, so visits are not counted at the moment.", err)
		}
	}()
	found, address, err := g.today(ctx)
	if err != nil {
		shown.ImageProblem = fmt.Sprintf("The image service %s. It may still be starting; please try again in a moment.", err)
	} else {
		shown.Src = "picture?v=" + fingerprint(address.String()) // relative: the page may be served under any path
		shown.Caption, shown.Copyright = clip(found.Caption), clip(found.Copyright)
	}
	visits.Wait()
	return shown
}

func fingerprint(text string) string {
	h := fnv.New64a()
	io.WriteString(h, text)
	return hex.EncodeToString(h.Sum(nil))
}

func clip(text string) string {
	runes := []rune(strings.TrimSpace(text))
	if len(runes) > maxText {
		return string(runes[:maxText]) + "…"
	}
	return string(runes)
}

func (g *gallery) servePage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageLimit)
	defer cancel()
	clientIP, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		clientIP = r.RemoteAddr
	}
	var html bytes.Buffer
	if err := g.page.Execute(&html, g.look(ctx, clientIP)); err != nil {
		logText("error", err.Error())
		http.Error(w, "the page could not be drawn", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Cache-Control", "no-store")
	w.Write(html.Bytes())
}

// servePicture hands on the picture's bytes, so that a browser needs no way to the image API itself.
func (g *gallery) servePicture(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), proxyLimit)
	defer cancel()
	w.Header().Set("Content-Security-Policy", imagePolicy)
	data, kind, err := g.fetchPicture(ctx)
	if err != nil {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "the picture "+err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "private, max-age=3600")
	w.Write(data)
}

func (g *gallery) fetchPicture(ctx context.Context) ([]byte, string, error) {
	_, address, err := g.today(ctx)
	if err != nil {
		return nil, "", err
	}
	client := g.outside
	if address.Host == g.imageAPI.Host {
		client = g.inside
	}
	data, header, err := ask(ctx, client, http.MethodGet, address.String(), nil, maxPicture)
	if err != nil {
		return nil, "", err
	}
	kind := header.Get("Content-Type")
	if !strings.HasPrefix(kind, "image/") {
		return nil, "", problemNonsense
	}
	return data, kind, nil
}

func serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	io.WriteString(w, `{"status":"UP"}`+"\n")
}

// statusWriter remembers the status for the log line.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// traced gives each request an id and a log line. Health checks are not logged: they come every second.
func traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started, t := time.Now(), &trace{id: requestID(r)}
		out := &statusWriter{w, http.StatusOK}
		w.Header().Set("X-Request-Id", t.id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), traceKey{}, t)))
		} else {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(out, "only GET and HEAD", http.StatusMethodNotAllowed)
		}
		if r.URL.Path == "/health" {
			return
		}
		logLine("info", map[string]interface{}{
			"request_id": t.id, "method": r.Method, "path": clip(r.URL.Path), "status": out.status,
			"ms": millis(started), "calls": t.list(),
		})
	})
}

func requestID(r *http.Request) string {
	if given := r.Header.Get("X-Request-Id"); requestIDs.MatchString(given) {
		return given
	}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return fingerprint(time.Now().String())
	}
	return hex.EncodeToString(id)
}

// client makes an HTTP client. It drops idle connections before the other side does (Node: after 5 s), since a
// POST on one that was just closed is not tried again. Calls inside the container network go through no proxy, whatever HTTP_PROXY says.
func client(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return &http.Client{Transport: &http.Transport{
		Proxy: proxy, DialContext: dialer.DialContext, TLSHandshakeTimeout: 3 * time.Second,
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 3 * time.Second,
	}}
}

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func address(name, fallback string) (*url.URL, error) {
	value := setting(name, fallback)
	parsed, err := url.Parse(value)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return nil, fmt.Errorf("%s must be an http or https address, but is %q", name, value)
	}
	return parsed, nil
}

func newGallery() (*gallery, error) {
	imageAPI, err := address("IMAGE_API_URL", "http://iotd/image")
	if err != nil {
		return nil, err
	}
	accessAPI, err := address("ACCESS_API_URL", "http://accesslog/access-log")
	if err != nil {
		return nil, err
	}
	page, err := template.ParseFiles("index.html")
	if err != nil {
		return nil, fmt.Errorf("index.html must lie in the working directory: %v", err)
	}
	return &gallery{imageAPI, accessAPI, page, client(nil), client(http.ProxyFromEnvironment)}, nil
}

func run() error {
	g, err := newGallery()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", g.servePage)
	mux.HandleFunc("/picture", g.servePicture)
	mux.HandleFunc("/health", serveHealth)
	server := &http.Server{
		Addr: ":" + setting("PORT", "80"), Handler: traced(mux),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 60 * time.Second, MaxHeaderBytes: 32 << 10,
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		logText("info", fmt.Sprintf("%v: stopping", <-signals))
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	}()
	logText("info", "listening on "+server.Addr)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	<-stopped
	return nil
}

func main() {
	if err := run(); err != nil {
		logText("error", err.Error())
		os.Exit(1)
	}
}
